"""YAML documents: reading, checking, editing and writing them, and production's own rules for them.

Goes in: documents in and out, and what production supports. Stays out: running anything, and what is worth a
warning (`findings`).
"""
