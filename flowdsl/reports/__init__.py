"""Reports: the volume, recipients and payloads of a result, as text and HTML.

Goes in: measuring a result, and the page. Stays out: pictures and charts, which do not depend on results
(`diagrams`, `charts`).
"""
