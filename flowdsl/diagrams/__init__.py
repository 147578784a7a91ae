"""Flows, projects, results and comparisons as pictures: SVG, Mermaid and text, drawn without any program or script.

`diagram` says what is to be seen, `of_flows` and `of_results` make that of flows and results, `column` and `lanes` lay
it out, `svg`, `mermaid` and `outline` write it down, and `picture` is the value that users meet.
"""
