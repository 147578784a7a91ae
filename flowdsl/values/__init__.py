"""JSON values of many rows as columns, and texts as small integers."""
