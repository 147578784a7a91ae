"""resolve: look up one entity and keep it as a variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.variables import EntityVariable
from flowdsl.expressions.row_source import Failures, first_failures
from flowdsl.expressions.var import Var
from flowdsl.graph.entities import AMBIGUOUS, NONE, Numbers
from flowdsl.kernels.kernel import Kernel, NoDirectionKernel
from flowdsl.kernels.outcome import StepOutcome, Until, failed_where
from flowdsl.operators.base import Kind, Operator, link_caption
from flowdsl.operators.options import (
    DIRECTION,
    DIRECTIONS,
    ENTITY_TYPE,
    FLAG,
    LINK_TYPE,
    NAME,
    PATH,
    Direction,
    option,
)
from flowdsl.operators.scope import ANY, Scope
from flowdsl.rules import Rules
from flowdsl.values.columns import gather_values
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Tag
from flowdsl.values.paths import Path, path_text


@dataclass(frozen=True)
class Resolve(Operator):
    """Look up one entity, directly or over a link."""

    name: ClassVar[str] = "resolve"
    method: ClassVar[str] = "resolve"
    summary: ClassVar[str] = "look up one entity, directly or over a link, and keep it as a variable"
    example: ClassVar[str] = 'resolve("target_id", via="owns", direction="reverse", as_="owner")'
    synonyms: ClassVar[tuple[str, ...]] = (
        "lookup",
        "look_up",
        "join",
        "enrich",
        "fetch",
        "get",
        "find",
        "branch",
    )
    portable: ClassVar[bool] = True
    without: ClassVar[Mapping[str, str]] = {
        "type": "an id that several types have stands for the first of them",
        "required": "an event fails where there is no entity",
    }
    text_order: ClassVar[tuple[str, ...]] = ("from_", "via", "direction", "as_")

    from_: Path = option(PATH, "the path that holds the id to start from", key=True)
    as_: str = option(NAME, "the variable that the entity becomes", synonyms=("into", "name"))
    via: str | None = option(
        LINK_TYPE,
        "the link type to follow; the earliest link counts",
        examples=("owns", "follows"),
        default=None,
        synonyms=("link_type", "link", "over", "edge"),
    )
    direction: str = option(
        DIRECTION, "`forward`: the id is the link's source; `reverse`: its target", default="forward"
    )
    type: str | None = option(
        ENTITY_TYPE,
        "the entity type to look in; any by default",
        portable=False,
        default=None,
        synonyms=("entity_type",),
    )
    required: bool = option(FLAG, "whether a missing entity fails the event", portable=False, default=True)

    @classmethod
    def build(
        cls,
        from_: str | Var,
        *,
        as_: str,
        via: str | None = None,
        direction: Direction = "forward",
        type: str | None = None,
        required: bool = True,
    ) -> Resolve:
        """Look up an entity as of the event and set it as a variable.

        Parameters
        ----------
        from_
            The path of the id to start from.
        as_
            The name of the variable.
        via
            A link type. The entity is then the one at the other end of the id's earliest link of that type;
            without it, the entity with that id.
        direction
            `"forward"` if the id is the source of the link, `"reverse"` if it is its target.
        type
            The entity type, for ids that exist in several types.
        required
            If there is no entity, the event fails; with False the variable is missing instead.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> flow = on("link.created").resolve("target_id", via="owns", direction="reverse", as_="owner")
        >>> flow.steps[0].text
        "resolve('target_id', via='owns', direction='reverse', as_='owner')"
        """
        return cls.read(from_=from_, as_=as_, via=via, direction=direction, type=type, required=required)

    @property
    def kind(self) -> Kind:
        return Kind.PER_EVENT

    @property
    def links(self) -> frozenset[tuple[str, str]]:
        links = {(self.via, self.direction)} if self.via is not None and self.direction in DIRECTIONS else ()
        return frozenset(links)

    @property
    def link_path(self) -> Path | None:
        return None if self.via is None else self.from_

    @property
    def entity_variable(self) -> str:
        return self.as_

    @property
    def caption(self) -> str:
        found = f"{self.as_} ({self.type})" if self.type else self.as_
        caption = link_caption(self.from_, self.via, self.direction, found)
        return caption if self.required else f"{caption}, if there is one"

    def check(self, scope: Scope) -> Scope:
        return super().check(scope).having(**{self.as_: ANY})

    def kernel(self, rules: Rules) -> Kernel:
        if self.via is not None and self.direction not in DIRECTIONS:
            return NoDirectionKernel(self.direction)
        return ResolveKernel(self, rules)


class ResolveKernel(Kernel):
    """Looks ids up among the entity versions and links as of each context's moment."""

    def __init__(self, options: Resolve, rules: Rules) -> None:
        self._options, self._rules = options, rules

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        at, back = contexts.lift({self._options.from_})
        versions, failures = self._look_up(at)
        if back is not None:
            versions, failures = versions.take(back), gather_values(failures, back)
        found = contexts.having({self._options.as_: EntityVariable(versions)})
        passed = found if failures is None else found.take(np.flatnonzero(~failures.mask))
        return StepOutcome(passed, failed_where(contexts, failures))

    def _look_up(self, contexts: ContextBatch) -> tuple[Numbers, Failures | None]:
        options, graph, chunk = self._options, contexts.chunk.graph, contexts.chunk
        start = contexts.id_codes(options.from_, uuids=self._rules.uuids)
        ids = start
        if options.via is not None:
            ids = graph.first_link(options.via, options.direction, start, chunk.seq_seen(contexts.seen))
        versions = graph.find(ids, contexts.seen, options.type)
        if (versions >= 0).all():
            return versions, None
        return np.maximum(versions, NONE), first_failures(
            list(self._failures(contexts, start, ids, versions))
        )

    def _failures(
        self, contexts: ContextBatch, start: Codes, ids: Codes, versions: Numbers
    ) -> list[Failures | None]:
        options = self._options
        name = path_text(options.from_)
        ambiguous = Failures.where(
            versions == AMBIGUOUS, f"{name!r} names entities of several types; say which with type="
        )
        no_id = start <= 0
        if not options.required:
            # a missing id means a missing entity; a value that is not an id is a mistake
            odd = no_id & ~contexts.column(options.from_).is_(Tag.MISSING, Tag.NULL) if no_id.any() else no_id
            return [Failures.where(odd, f"{name!r} holds no id"), ambiguous]
        parts = [Failures.where(no_id, f"{name!r} holds no id")]
        if options.via is not None:
            parts.append(
                Failures.where(ids <= 0, f"no {options.via!r} link {_side(options.direction)} {name!r}")
            )
        return [*parts, Failures.where(versions == NONE, _not_found(options)), ambiguous]


def _side(direction: str) -> str:
    return "from" if direction == "forward" else "to"


def _not_found(options: Resolve) -> str:
    kind = f"entity of type {options.type!r}" if options.type else "entity"
    if options.via is None:
        return f"no {kind} has the id in {path_text(options.from_)!r}"
    return (
        f"no {kind} at the other end of the {options.via!r} link {_side(options.direction)} "
        f"{path_text(options.from_)!r}"
    )
