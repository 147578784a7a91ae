"""Comparison of two results, and sweeps of many variants of a flow over one log.

Goes in: matching deliveries and steps of two runs, and the causes of differences. Stays out: the rules by
which a runtime differs (`rules`, `findings`).
"""
