"""The two expression languages of flows, conditions and templates, evaluated over columns of JSON values.

Goes in: grammar, types, and the column and row forms of both. Stays out: the steps and events that use them.
"""
