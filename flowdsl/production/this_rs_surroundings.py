"""Other parts of a this-rs document: entities, links and the rules for links, whose shape it checks.

flowdsl keeps them as they are. Where one has another shape, production refuses the whole document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from flowdsl.production.nodes import Item
from flowdsl.production.this_rs_shapes import Shapes, is_empty

_ACTIONS: Final = ("list", "get", "create", "update", "delete")
_ENTITY_ACTIONS: Final = (*_ACTIONS, "list_links", "create_link", "delete_link")
_LINK_TEXTS: Final = ("link_type", "source_type", "target_type", "forward_route_name", "reverse_route_name")


def check_surroundings(shapes: Shapes, given: Mapping[str, Item]) -> None:
    """Reject entities, links and rules that production cannot read."""

    def policies(item: Item, actions: Sequence[str]) -> None:
        for one in shapes._struct(item, "auth", actions).values():
            shapes._text(one)

    def entity(item: Item) -> None:
        parts = shapes._struct(item, "an entity", ("singular", "plural", "auth"), ("singular", "plural"))
        shapes._text(parts["singular"])
        shapes._text(parts["plural"])
        if "auth" in parts:
            policies(parts["auth"], _ENTITY_ACTIONS)

    def link(item: Item) -> None:
        known = (*_LINK_TEXTS, "description", "required_fields", "auth")
        parts = shapes._struct(item, "a link", known, _LINK_TEXTS)
        for name in _LINK_TEXTS:
            shapes._text(parts[name])
        shapes._optional(parts.get("description"))
        shapes._each(shapes._there(parts.get("required_fields")), "required_fields", shapes._text)
        auth = shapes._there(parts.get("auth"))
        if auth is not None:
            policies(auth, _ACTIONS)

    def rule(item: Item) -> None:
        parts = shapes._struct(item, "a rule", ("source", "targets"), ("source", "targets"))
        shapes._text(parts["source"])
        shapes._each(parts["targets"], "targets", shapes._text)

    shapes._each(given.get("entities"), "entities", entity)
    shapes._each(given.get("links"), "links", link)
    rules = shapes._there(given.get("validation_rules"))
    if rules is None or is_empty(rules):
        return
    if not isinstance(rules.value, dict):
        raise shapes._refused(
            rules, f"validation_rules is {rules.kind}", "a mapping from a type of links to rules"
        )
    shapes._keys_are_text(rules)
    for listed in (*rules.overwritten, *rules.value.values()):
        shapes._each(listed, "rules", rule)
