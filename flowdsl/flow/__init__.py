"""Flows as plain values: a trigger with its steps, plans of several flows, and operator graphs.

Goes in: what a flow says, before anything runs, is read from a file or is shown. Stays out: what users call
(`flowdsl.api`).
"""
