"""The template engine of reports, explanations and comparisons, and the macros that their templates share.

Goes in: what several pages share. Stays out: the pages, each next to what it shows.
"""
