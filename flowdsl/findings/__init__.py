"""Static and log-based checks of flows, run before they are shipped.

::

    base            Finding, and the registry of rules
    views           projects, flows, steps and templates as the rules see them
    document_views  views of built flows and of documents
    rules           the rules, one module for each theme
    check           running the rules over flows, projects and documents
    from_log        findings that need a log
"""

from __future__ import annotations

from flowdsl.findings.base import Finding
from flowdsl.findings.check import check_flow, check_project, check_sources

__all__ = ["Finding", "check_flow", "check_project", "check_sources"]
