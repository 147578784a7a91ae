"""Explanations of one event, step by step."""
