"""Building blocks of stateful steps: keys, windows, buckets and timers over columns.

Goes in: what several operators share. Stays out: options and their checks, which are the operators' own.
"""
