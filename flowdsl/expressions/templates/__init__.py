"""Templates in the language of Tera 1, rendered for single contexts and for columns of them.

::

    grammar ─ expressions ─ operands ─ scanning    text → nodes (light: neither NumPy nor Polars)
    checking, scope, whitespace                     names that exist, variables that are read, white space
    evaluation ─ rows                               one context at a time: any template
    columns ─ columnar                              many at once: templates without loops and macros
"""

from __future__ import annotations

from flowdsl.expressions.templates.failures import RenderError
from flowdsl.expressions.templates.template import Template

__all__ = ["RenderError", "Template"]
