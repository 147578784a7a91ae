"""Engines run plans over logs."""
