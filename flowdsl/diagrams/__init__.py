"""Diagrams of flows, projects, results and comparisons as SVG, Mermaid and text, drawn without external
programs.

`diagram` is the content of a picture; `flows`, `results` and `comparisons` build it; `column_layout` and
`lane_layout` lay it out; `svg`, `mermaid` and `text_renderer` write it; `picture` is the object for users.
"""
