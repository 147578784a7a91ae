"""Charts as SVG: columns over time or classes, and lines; drawn without any program or script.

`chart` is the value that users meet, `columns` and `lines` draw, `axes` places and names, `ticks` chooses round numbers and
calendar dates, `wording` says counts, spans of time and moments.
"""
