"""The graph of entities and links as of each event: a snapshot, and what the log did to it."""
