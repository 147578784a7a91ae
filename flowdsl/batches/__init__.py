"""Batches of contexts as columns: what flows carry from step to step."""
