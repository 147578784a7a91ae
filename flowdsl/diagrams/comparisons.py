"""The diagram of a comparison: the steps of both versions in one chain, with counts before and after at the
edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from flowdsl.diagrams.diagram import (
    Annotation,
    Diagram,
    FlowDiagram,
    Leave,
    Node,
    Outflow,
    SinkNode,
    Target,
    Tone,
)

Step = Mapping[str, Any] | None
_LEAVES: Final[tuple[tuple[Leave, str], ...]] = (
    ("failed", "failed"),
    ("absorbed", "into batches"),
    ("held", "still held"),
)


def comparison_chain(
    name: str, triggers: Sequence[tuple[str, str]], steps: Sequence[tuple[Step, Step]]
) -> FlowDiagram:
    """Build one flow: its triggers as (caption, text), then each step with its counterpart.

    Steps are those of a result's manifest; one that exists only before or after has None as its counterpart.
    """
    captions, texts = (list(dict.fromkeys(parts)) for parts in zip(*triggers, strict=True))
    trigger = Node("on", " → ".join(captions), "\n→ ".join(texts))
    return FlowDiagram(name, (trigger, *(_node(before, after) for before, after in steps)))


def comparison_diagram(
    title: str, chains: Sequence[FlowDiagram], sinks: Mapping[str, tuple[int, int]], notes: Sequence[str]
) -> Diagram:
    """Build the diagram of a comparison; `sinks` has the deliveries to each sink before and after."""
    listed = (SinkNode(name, mark=count_change(*counts, of="deliveries")) for name, counts in sinks.items())
    return Diagram(title, tuple(chains), tuple(listed), tuple(notes))


def count_change(
    before: int | None, after: int | None, *, of: str = "contexts", less_is_better: bool = False
) -> Annotation:
    """Return counts before and after for an edge; only one if they are equal or one side lacks the edge.

    Without `less_is_better` the style is neutral, as for most things more is neither better nor worse.
    """
    one, other = before or 0, after or 0
    title = f"{one:,} {of} before, {other:,} after"
    if before is None or after is None:
        return Annotation(f"{one + other:,}", one + other, "added" if before is None else "removed", title)
    if one == other:
        return Annotation(f"{one:,}", one, "plain" if one else "faded", title)
    tone: Tone = "changed"
    if less_is_better:
        tone = "better" if other < one else "worse"
    return Annotation(f"{one:,} → {other:,}", max(one, other), tone, title)


def _node(before: Step, after: Step) -> Node:
    step = after or before
    assert step is not None
    mark, text, caption = Annotation(), step["text"], step["caption"]
    if before is None:
        mark = Annotation("new", tone="added")
    elif after is None:
        mark = Annotation("gone", tone="removed")
    elif before["text"] != after["text"]:
        mark = Annotation("changed", tone="changed")
        text = f"{before['text']}\n→ {after['text']}"
        caption = f"{before['caption']} → {after['caption']}"
    into = count_change(_count(before, "entered"), _count(after, "entered"))
    exits, targets = tuple(_exits(before, after)), tuple(_targets(before, after))
    return Node(step["operator"], caption, text, into, mark, exits, targets)


def _count(step: Step, name: str) -> int | None:
    return None if step is None else int(step[name])


def _exits(before: Step, after: Step) -> Iterator[Outflow]:
    ways: list[tuple[Leave, str, int | None, int | None]] = []
    for reason in sorted({*_reasons(before), *_reasons(after)}):
        ways.append(("dropped", reason, _drops(before, reason), _drops(after, reason)))
    ways.extend([(leave, name, _count(before, leave), _count(after, leave)) for leave, name in _LEAVES])
    for leave, reason, one, other in ways:
        if one or other:
            yield Outflow(leave, reason, count_change(one, other, less_is_better=leave == "failed"))


def _reasons(step: Step) -> Mapping[str, int]:
    return {} if step is None else step["reasons"]


def _drops(step: Step, reason: str) -> int | None:
    return None if step is None else step["reasons"].get(reason, 0)


def _targets(before: Step, after: Step) -> Iterator[Target]:
    sinks = dict.fromkeys(sink for step in (before, after) if step is not None for sink in step["sinks"])
    for sink in sinks:
        counts = [
            None if step is None or sink not in step["sinks"] else int(step["passed"])
            for step in (before, after)
        ]
        yield Target(sink, count_change(*counts, of="deliveries"))
