"""Flows as plain values: a trigger and its steps, the plan that several make together, and the graph of their operators.

Goes in: what a flow says, before anything runs, is read from a file or is shown. Stays out: what users call (`flowdsl.api`).
"""
