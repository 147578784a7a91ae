"""Vectorized rendering: templates over many contexts at once."""
