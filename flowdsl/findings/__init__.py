"""Findings: what is worth knowing of flows before they are shipped.

::

    base      Finding, and the registry of rules
    views     what rules look at: projects, flows, steps, templates
    reading   views of built flows, and of documents
    rules     the rules, one module a theme
    checking  runs them
"""

from __future__ import annotations

from flowdsl.findings.base import Finding, rules
from flowdsl.findings.check import check_flow, check_project, check_source, check_sources

__all__ = ["Finding", "check_flow", "check_project", "check_source", "check_sources", "rules"]
