"""Explanations of one event, step by step.

Goes in: tracing a replay of one event, and describing the trace. Stays out: anything that changes how the
event is processed.
"""
