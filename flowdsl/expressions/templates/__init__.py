"""Templates in the language of Tera 1, rendered for single contexts and for columns of them.

::

    grammar ─ expressions ─ operands ─ scanner     text → nodes (light: neither NumPy nor Polars)
    validation, template, whitespace                names that exist, variables that are read, white space
    evaluation ─ scalar                             one context at a time: any template
    vectorized                                      many at once: all but blocks, macros and loops in loops
"""

from __future__ import annotations

from flowdsl.expressions.templates.failures import RenderError
from flowdsl.expressions.templates.template import Template

__all__ = ["RenderError", "Template"]
