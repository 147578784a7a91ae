"""Charts as SVG: columns over time or classes, and lines; drawn without any program or script.

`chart` is the value that users get, `columns` and `lines` draw, `axes` has the plot area, `ticks` chooses
round numbers and calendar dates, `formats` formats counts, durations and timestamps. No module here knows a
flow or a result.
"""
