"""Comparison of two results, and sweeps of many variants of a flow over one log."""
