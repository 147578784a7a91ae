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
    ("failed", "failed"), ("absorbed", "into batches"), ("held", "still held"),
)  # fmt: skip


def comparison_chain(
    name: str, triggers: Sequence[tuple[str, str]], steps: Sequence[tuple[Step, Step]]
) -> FlowDiagram:
    """Build one flow: its triggers as (caption, text), then each step with its counterpart.

    Steps are those of a result's manifest; one that exists only before or after has None as its counterpart.
    """
    captions, texts = (list(dict.fromkeys(said)) for said in zip(*triggers, strict=True))
    trigger = Node("on", " → ".join(captions), "\n→ ".join(texts))
    return FlowDiagram(name, (trigger, *(_node(before, after) for before, after in steps)))


def comparison_diagram(
    title: str, chains: Sequence[FlowDiagram], sinks: Mapping[str, tuple[int, int]], notes: Sequence[str]
) -> Diagram:
    """Build the diagram of a comparison; `sinks` has the deliveries to each sink before and after."""
    listed = (SinkNode(name, mark=beside(*counts, of="deliveries")) for name, counts in sinks.items())
    return Diagram(title, tuple(chains), tuple(listed), tuple(notes))


def beside(before: int | None, after: int | None, *, of: str = "contexts") -> Annotation:
    """Return counts before and after for an edge; only one if they are equal or one side lacks the edge."""
    one, other = before or 0, after or 0
    title = f"{one:,} {of} before, {other:,} after"
    if before is None or after is None:
        return Annotation(f"{one + other:,}", one + other, "added" if before is None else "removed", title)
    if one == other:
        return Annotation(f"{one:,}", one, "plain" if one else "faded", title)
    tone: Tone = "added" if other > one else "removed"
    return Annotation(f"{one:,} → {other:,}", max(one, other), tone, title)


def _node(before: Step, after: Step) -> Node:
    step = after or before or {}
    both = before is not None and after is not None
    changed = both and before["text"] != after["text"]  # type: ignore[index]
    mark = Annotation("changed", tone="changed") if changed else Annotation() if both else _alone(before)
    text = f"{before['text']}\n→ {after['text']}" if changed else step["text"]  # type: ignore[index]
    caption = f"{before['caption']} → {after['caption']}" if changed else step["caption"]  # type: ignore[index]
    return Node(
        step["operator"], caption, text, beside(_of(before, "entered"), _of(after, "entered")), mark,
        tuple(_exits(before, after)), tuple(_targets(before, after)),
    )  # fmt: skip


def _alone(before: Step) -> Annotation:
    return Annotation("new", tone="added") if before is None else Annotation("gone", tone="removed")


def _of(step: Step, name: str) -> int | None:
    return None if step is None else int(step[name])


def _exits(before: Step, after: Step) -> Iterator[Outflow]:
    reasons = sorted({reason for step in (before, after) if step is not None for reason in step["reasons"]})
    ways: list[tuple[Leave, str, int | None, int | None]] = [
        (
            "dropped",
            reason,
            *(None if step is None else step["reasons"].get(reason, 0) for step in (before, after)),
        )
        for reason in reasons
    ]
    ways += [(leave, said, _of(before, leave), _of(after, leave)) for leave, said in _LEAVES]
    for leave, reason, one, other in ways:
        if one or other:
            yield Outflow(leave, reason, beside(one, other))


def _targets(before: Step, after: Step) -> Iterator[Target]:
    sinks = dict.fromkeys(sink for step in (before, after) if step is not None for sink in step["sinks"])
    for sink in sinks:
        counts = [
            None if step is None or sink not in step["sinks"] else int(step["passed"])
            for step in (before, after)
        ]
        yield Target(sink, beside(*counts, of="deliveries"))
