"""Diagrams of flows, projects, results and comparisons: SVG, Mermaid and text, drawn without any program or
script.

`diagram` has the content, `flows`, `results` and `comparisons` build it, `column_layout` and `lane_layout`
lay it out, `svg`, `mermaid` and `text_renderer` write it, and `picture` is the value that users get.
"""
