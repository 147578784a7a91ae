"""Batches of contexts as columns: what flows carry from step to step.

Goes in: what a context consists of (rows of events, variables, branches, payload) and how it is taken, joined
and kept. Stays out: what a step does with it (`kernels`, `operators`).
"""
