"""Notebook widgets: explore how events pass through a flow, and design flows with forms.

Their state and logic is plain Python (`outcome_index`, `explore_model`, `drafts`, `completions`,
`preview_run`, `design_model`); the widgets (`explorer`, `designer`) show it on a `widget`, which only draws a
view and reports clicks and input. They work on `FlowSpec`, of which `flowdsl.api` makes a `Flow`.
"""
