"""What stateful steps are made of: keys, windows, buckets and timers over columns."""
