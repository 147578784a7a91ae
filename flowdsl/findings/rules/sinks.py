"""Rules about the configuration of sinks: what production lacks or ignores, secrets, missing options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flowdsl.findings.base import Violation, rule
from flowdsl.findings.rules.projects import used_sinks
from flowdsl.findings.views import ProjectView, StepView, payload_before
from flowdsl.production.sinks import options_of
from flowdsl.sinks.registry import is_portable, production_types

_ENV: Final = re.compile(r"\{\{\s*env\.")
_SECRET: Final = re.compile(
    r"authorization|cookie|token|secret|password|passwd|signature|credential|(api|access|private)[-_]?key",
    re.IGNORECASE,
)
_IN_URL: Final = re.compile(
    r"://[^/?#@{]*:[^/?#@{]+@|[?&][^=&{]*(token|secret|password|signature|key)[^=&{]*=[^&{]", re.IGNORECASE
)
_COUNTED: Final = ("entity_type", "entity_id", "field")


@rule("sink-type-unknown", "error", ProjectView, target=True)
def sink_type_unknown(project: ProjectView) -> Iterator[Violation]:
    """Report a sink of unknown type, for which production rejects the file."""
    for sink, place in project.sinks:
        if not is_portable(sink.type):
            yield Violation(
                place,
                f"production knows no sinks of the type {sink.type}, and refuses the whole file for "
                f"{sink.name!r}",
                f"use one of {', '.join(production_types())}",
            )


@rule("sink-option-ignored", "note", ProjectView, target=True)
def sink_option_ignored(project: ProjectView) -> Iterator[Violation]:
    """Report an option of a sink that production lacks and ignores."""
    for sink, place in project.sinks:
        known = options_of(sink.type) if is_portable(sink.type) else {}
        ignored = [name for name in sink.config if name not in known or not known[name].portable]
        if sink.cap is not None:
            ignored.append("cap")
        if ignored:
            yield Violation(place, f"production passes over {', '.join(ignored)} of the sink {sink.name!r}")


@rule("env-not-filled", "warning", ProjectView, target=True)
def env_not_filled(project: ProjectView) -> Iterator[Violation]:
    """Report an environment variable in the configuration, which production may not fill in."""
    for sink, place in project.sinks:
        if any(_ENV.search(text) for _, text in _texts(sink.config)):
            yield Violation(
                place,
                f"production may not fill in {{{{ env.… }}}}: {sink.name!r} may send it as it is",
                "have the file filled in where it is deployed",
            )


@rule("secret-in-file", "warning", ProjectView)
def secret_in_file(project: ProjectView) -> Iterator[Violation]:
    """Report what looks like a secret in the file."""
    for sink, place in project.sinks:
        for name, text in _texts(sink.config):
            secret = _SECRET.search(name) if name != "url" else _IN_URL.search(text)
            if secret and text.strip() and not _ENV.search(text):
                yield Violation(
                    place,
                    f"{name} of the sink {sink.name!r} looks like a secret, and can be read in the file",
                    'write "{{ env.NAME }}", and set the variable NAME where it runs',
                )


@rule("counter-incomplete", "error", StepView, of=("deliver",))
def counter_incomplete(step: StepView) -> Iterator[Violation]:
    """Report a counter that lacks the options that say what to count."""
    payload = payload_before(step)
    if payload is None:
        return
    given = {leaf.field for leaf in payload.leaves}
    if not step.flow.on_link:
        given |= {"entity_type", "entity_id"}
    for name in used_sinks(step):
        config = step.flow.counters.get(name)
        if config is None:
            continue
        known = given | {"field"} if config.get("field") else given
        missing = [part for part in _COUNTED if part not in known]
        if missing:
            yield step.remark(
                f"the counter {name!r} lacks {' and '.join(missing)}: every delivery to it fails",
                f"give the payload {' and '.join(missing)}",
            )


def _texts(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the texts of a configuration, each with its key."""
    for key, value in config.items():
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, Mapping):
            yield from _texts(value)
