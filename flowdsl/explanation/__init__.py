"""Explanations of one event, step by step.

Goes in: watching a replay of one event, and saying what was seen. Stays out: anything that changes how the
event is run.
"""
