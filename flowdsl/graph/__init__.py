"""Graph of entities and links as of each event: a snapshot, and the changes of the log."""
