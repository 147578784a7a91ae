"""The log under a system whose calls fail."""
