"""Validation of the names in a template: filters, tests, functions, macros and their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, NoReturn, Protocol

from flowdsl.errors import did_you_mean
from flowdsl.expressions.templates.filters import FILTERS
from flowdsl.expressions.templates.hints import word_hint
from flowdsl.expressions.templates.nodes import (
    BlockTag,
    Body,
    Expr,
    Macro,
    MacroCall,
    Section,
    TemplateCall,
    Test,
    Value,
)
from flowdsl.expressions.templates.scanner import template_error
from flowdsl.expressions.templates.template_functions import CONTEXT_DUMP, FUNCTIONS, REFUSED
from flowdsl.expressions.templates.tera_tests import TESTS
from flowdsl.expressions.templates.visitors import all_nodes, exprs_of, idents


class Signature(Protocol):
    """Declaration with the names of required and optional arguments."""

    @property
    def required(self) -> tuple[str, ...]: ...

    @property
    def optional(self) -> tuple[str, ...]: ...


class _Parameters(NamedTuple):
    required: tuple[str, ...]
    optional: tuple[str, ...]


def check_names(text: str, body: Body) -> None:
    """Reject unknown names, and arguments that the filter, test, function or macro does not have."""
    checker = _Checker(text, body)
    for node in all_nodes(body):
        if isinstance(node, Section):
            checker.filter(node.call)
    for expr in exprs_of(body):
        checker.expr(expr)


def check_twice(text: str, body: Body) -> None:
    """Reject two blocks or two macros with one name, which Tera cannot load."""
    macros: set[str] = set()
    for node in body:
        if isinstance(node, Macro):
            if node.name in macros:
                raise template_error(f"two macros `{node.name}`", text, node.at, allowed="one of a name")
            macros.add(node.name)
    blocks: set[str] = set()
    pending = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, BlockTag):
            if node.name in blocks:
                raise template_error(f"two blocks `{node.name}`", text, node.at, allowed="one of a name")
            blocks.add(node.name)
            pending.extend(node.body)


class _Checker:
    def __init__(self, text: str, body: Body) -> None:
        self.text = text
        self.macros: dict[str, Signature] = {
            node.name: _Parameters(
                tuple(name for name, default in node.params if default is None),
                tuple(name for name, default in node.params if default is not None),
            )
            for node in body
            if isinstance(node, Macro)
        }

    def expr(self, expr: Expr) -> None:
        for call in expr.filters:
            self.filter(call)
        self.value(expr.value)

    def value(self, value: Value) -> None:
        for ident in idents(value):
            if ident.root == CONTEXT_DUMP:
                self.refuse(
                    f"`{CONTEXT_DUMP}` is refused: it prints all variables, which differ from run to run",
                    ident.at,
                )
        if isinstance(value, TemplateCall):
            self.function(value)
        elif isinstance(value, Test):
            self.test(value)
        elif isinstance(value, MacroCall):
            self.macro(value)

    def filter(self, call: TemplateCall) -> None:
        self.call("filter", call, FILTERS)

    def function(self, call: TemplateCall) -> None:
        if call.name in REFUSED:
            self.refuse(f"the function `{call.name}` is refused: {REFUSED[call.name]}", call.at)
        self.call("function", call, FUNCTIONS)

    def macro(self, call: MacroCall) -> None:
        if call.namespace != "self":
            self.refuse(
                f"unknown macro `{call.namespace}::{call.name}`",
                call.at,
                allowed="macros of this template, as `self::name()`",
            )
        self.call("macro", TemplateCall(call.name, call.args, call.at), self.macros)

    def test(self, test: Test) -> None:
        if test.name not in TESTS:
            hint = word_hint("test", test.name, TESTS)
            if test.negated and hint is None:
                hint = did_you_mean(f"not{test.name}", TESTS)
            self.refuse(f"unknown test `{test.name}`", test.at, allowed=_names(TESTS), hint=hint)
        wanted = TESTS[test.name].arguments
        if len(test.args) != wanted:
            takes = "one argument" if wanted else "no arguments"
            self.refuse(f"the test `{test.name}` got {len(test.args)} arguments", test.at, allowed=takes)

    def call(self, kind: str, call: TemplateCall, known: Mapping[str, Signature]) -> None:
        if call.name not in known:
            allowed = _names(known) or f"this template has no {kind}"
            self.refuse(
                f"unknown {kind} `{call.name}`",
                call.at,
                allowed=allowed,
                hint=word_hint(kind, call.name, known),
            )
        signature = known[call.name]
        names = [name for name, _ in call.args]
        takes = _names((*signature.required, *signature.optional)) or "no arguments"
        for name in names:
            if name not in signature.required + signature.optional:
                hint = did_you_mean(name, signature.required + signature.optional)
                self.refuse(
                    f"the {kind} `{call.name}` has no argument `{name}`", call.at, allowed=takes, hint=hint
                )
            if names.count(name) > 1:
                self.refuse(f"the argument `{name}` of `{call.name}` is given twice", call.at, allowed=takes)
        for name in signature.required:
            if name not in names:
                self.refuse(f"the {kind} `{call.name}` needs the argument `{name}`", call.at, allowed=takes)

    def refuse(self, what: str, at: int, *, allowed: str | None = None, hint: str | None = None) -> NoReturn:
        raise template_error(what, self.text, at, allowed=allowed, hint=hint)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
