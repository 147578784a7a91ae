"""Notebook widgets: explore how events pass through a flow, and design flows with forms.

What they know and do is plain Python (`journal`, `explore_model`, `drafts`, `offers`, `rehearsal`, `design_model`); the
widgets (`explorer`, `designer`) put it on a `panel`, which only draws it and says what was clicked and typed.
"""
