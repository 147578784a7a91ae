"""The template engine of reports, explanations and comparisons, and the macros that their templates share."""
