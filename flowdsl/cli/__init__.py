"""Commands of the command line, one module each: `add` declares its options, `run` runs it."""
