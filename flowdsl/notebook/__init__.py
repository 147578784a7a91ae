"""Notebook widgets: explore how events pass through a flow, and design flows with forms.

What they know and do is plain Python (`outcome_index`, `explore_model`, `drafts`, `completions`,
`preview_run`, `design_model`); the widgets (`explorer`, `designer`) put it on a `widget`, which only draws it
and reports what was clicked and typed. They work on `FlowSpec`; `flowdsl.api` makes a `Flow` of it.
"""
