"""White space control by `{%-` and `-%}`, including Tera's oddities.

One of them: the body after the `else` of a `for` keeps all its white space, whatever its tags ask for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from flowdsl.expressions.templates.nodes import (
    BlockTag,
    Body,
    Comment,
    For,
    If,
    Include,
    Jump,
    Macro,
    Node,
    Output,
    Raw,
    Section,
    Set,
    Text,
    Ws,
)
from flowdsl.values.white_space import WHITE_SPACE

_KEEPING: Final = Ws()


def trim_space(nodes: Iterable[Node], around: Ws = _KEEPING) -> Body:
    """Remove the white space that tags trim; `around` says what the tags around the body trim."""
    kept: list[Node] = []
    after_text = False
    trim_next = around.left
    for node in nodes:
        if isinstance(node, Text):
            text = node.text.lstrip(WHITE_SPACE) if trim_next else node.text
            if text or not trim_next:
                kept.append(Text(text))
            after_text, trim_next = True, False
            continue
        left, trim_next = _edges(node)
        if after_text and left:
            _trim_last(kept)
        kept.append(_trim_inside(node))
        after_text = False
    if around.right:
        _trim_last(kept)
    return tuple(kept)


def _edges(node: Node) -> tuple[bool, bool]:
    """Return whether the node trims white space before it, and after it."""
    if isinstance(node, (Output, Set, Jump, Include, Comment)):
        return node.ws.left, node.ws.right
    if isinstance(node, If):
        return node.branches[0][0].left, node.end.right
    assert not isinstance(node, Text)
    return node.start.left, node.end.right


def _trim_inside(node: Node) -> Node:
    """Return the node with its bodies trimmed."""
    if isinstance(node, Raw):
        text = node.text.lstrip(WHITE_SPACE) if node.start.right else node.text
        return replace(node, text=text.rstrip(WHITE_SPACE) if node.end.left else text)
    if isinstance(node, (For, Macro, Section, BlockTag)):
        return replace(node, body=trim_space(node.body, Ws(node.start.right, node.end.left)))
    return _inside_if(node) if isinstance(node, If) else node


def _inside_if(node: If) -> If:
    tags = [ws for ws, _, _ in node.branches]
    bodies = [list(trim_space(body, Ws(ws.right, False))) for ws, _, body in node.branches]
    otherwise = None
    if node.otherwise:
        ws, body = node.otherwise
        tags.append(ws)
        bodies.append(list(trim_space(body, Ws(ws.right, False))))
    # each tag trims the body before it
    for body_before, tag in zip(bodies, [*tags[1:], node.end], strict=True):
        if tag.left:
            _trim_last(body_before)
    if node.otherwise:
        otherwise = (node.otherwise[0], tuple(bodies.pop()))
    branches = tuple(
        (ws, expr, tuple(body)) for (ws, expr, _), body in zip(node.branches, bodies, strict=True)
    )
    return If(branches, otherwise, node.end)


def _trim_last(nodes: list[Node]) -> None:
    if nodes and isinstance(last := nodes[-1], Text):
        text = last.text.rstrip(WHITE_SPACE)
        if text:
            nodes[-1] = Text(text)
        else:
            nodes.pop()
