"""Interface for packages that add operators, sinks, filters, functions, findings and formats; see
`docs/extend.md`

Each is declared in one place and registered by an entry point whose name is its name:

========================  ===========================  ==============================================
entry point               what it refers to            where it is then used
========================  ===========================  ==============================================
`flowdsl.operators`       a class below `Operator`     `.then(…)`, YAML, schema, designer, pictures
`flowdsl.sinks`           a class below `Sink`         YAML, schema, `build_sinks`, live runs
`flowdsl.filters`         a `Filter`                   templates: `{{ x | name }}`
`flowdsl.functions`       a `Function`                 conditions: `name(x)`, and `fn.name(var.x)`
`flowdsl.findings`        a `Rule`                     `check`
`flowdsl.formats`         a `FileFormat`               `read_events`, `convert`
`flowdsl.rows`            a `RowFormat`                `read_events`, `convert`
`flowdsl.shapes`          a `Shape`                    `read_events(shape=…)`, `convert`, `guess`
========================  ===========================  ==============================================
"""

from __future__ import annotations

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.expressions.conditions.declaration import Function
from flowdsl.expressions.templates.filters import Filter
from flowdsl.expressions.templates.filters.arguments import Arguments
from flowdsl.findings.base import Rule, Violation
from flowdsl.findings.views import FlowView, ProjectView, StepView, TemplateView
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.outcome import StepOutcome, Until, dropped_rows, failed_where
from flowdsl.log.formats import FileFormat
from flowdsl.log.problems import RowProblems
from flowdsl.log.row_formats import RowFormat
from flowdsl.log.shape import Shape
from flowdsl.log.text_readers import TextBlock
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import (
    CONDITION,
    DIRECTION,
    DURATION,
    ENTITY_TYPE,
    FLAG,
    LINK_TYPE,
    NAME,
    PATH,
    PATHS,
    TEXT,
    Option,
    OptionType,
    choice,
    count,
    number,
    option,
)
from flowdsl.sinks.base import Delivery, DurableSink, Failure, Sink

__all__ = [
    "CONDITION",
    "DIRECTION",
    "DURATION",
    "ENTITY_TYPE",
    "FLAG",
    "LINK_TYPE",
    "NAME",
    "PATH",
    "PATHS",
    "TEXT",
    "Arguments",
    "ContextBatch",
    "Delivery",
    "DurableSink",
    "Failure",
    "FileFormat",
    "Filter",
    "FlowView",
    "Function",
    "Kernel",
    "Kind",
    "Operator",
    "Option",
    "OptionType",
    "ProjectView",
    "RowFormat",
    "RowProblems",
    "Rule",
    "Shape",
    "Sink",
    "StepOutcome",
    "StepView",
    "TemplateView",
    "TextBlock",
    "Until",
    "Violation",
    "choice",
    "count",
    "dropped_rows",
    "failed_where",
    "number",
    "option",
]
