"""Commands of the command line, one module each: `add` declares its options, `run` runs it.

Goes in: reading arguments, calling `flowdsl.api`, printing. Stays out: anything that a program would want as
well.
"""
