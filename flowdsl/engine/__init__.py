"""Engines run plans over logs.

Goes in: the executor, its scheduler, state and what watches it. Stays out: what a step does (`operators`),
and what is kept of its outcomes (`results`).
"""
