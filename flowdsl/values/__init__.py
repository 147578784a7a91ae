"""JSON values of many rows as columns, and texts as small integers.

Goes in: kinds, conversion and saving of values. Stays out: what they mean in events, graphs or flows.
"""
