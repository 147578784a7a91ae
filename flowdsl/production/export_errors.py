"""What production cannot say: collected step by step, so that a flow's refusals come all at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from flowdsl.errors import BuildError, ExportError
from flowdsl.operators.batch import BATCH
from flowdsl.scope import EVENT, Scope
from flowdsl.values.paths import Path, path_text

# of `batch`, what production's `_batch` has
BATCH_PARTS: Final = ("count", "key", "items")


class ExportErrors:
    """The refusals of one flow."""

    def __init__(self, flow: str) -> None:
        self.flow = flow
        self.problems: list[BuildError] = []

    def refuse(
        self, what: str, *, step: str | None = None, allowed: str | None = None, hint: str | None = None
    ) -> None:
        """One more."""
        self.problems.append(BuildError(what, flow=self.flow, step=step, allowed=allowed, hint=hint))

    def finish(self) -> None:
        """Raise them, if there are any."""
        if self.problems:
            raise ExportError(self.problems)


@dataclass(frozen=True)
class StepExportScope:
    """The variables before a step, as production names them, and where its refusals go."""

    scope: Scope
    step: str
    refusals: ExportErrors
    # what the refused part belongs to, such as `title` of a template
    part: str = field(default="")

    def within(self, part: str) -> StepExportScope:
        """The same for a part of the step."""
        return replace(self, part=part)

    def refuse(self, what: str, *, allowed: str | None = None, hint: str | None = None) -> None:
        """Refuse something in this step."""
        self.refusals.refuse(
            f"{self.part}: {what}" if self.part else what, step=self.step, allowed=allowed, hint=hint
        )

    def path(self, path: Path) -> Path:
        """The path in production; refused where it has no such variable."""
        self.check([path])
        return (self.root(path[0]), *path[1:])

    def root(self, name: str) -> str:
        """The variable in production: `batch` is `_batch` there."""
        return "_batch" if name == "batch" and self.scope.variables.get(name) is BATCH else name

    def check(self, paths: Iterable[Path]) -> None:
        """Refuse those of the paths that production does not have."""
        for path in sorted(paths):
            shape = self.scope.variables.get(path[0])
            if shape is EVENT:
                self.refuse(
                    f"production has no {path_text(path)!r}: the event itself is no variable there",
                    allowed=self._known(),
                )
            elif shape is BATCH and len(path) > 1 and path[1] not in BATCH_PARTS:
                self.refuse(
                    f"production's batch has no {path[1]!r}",
                    allowed=", ".join(f"_batch.{part}" for part in BATCH_PARTS),
                    hint="use _batch.count, _batch.key or _batch.items",
                )
            elif path[0] == "batch" and shape is BATCH and self.scope.variables.get("_batch") is not BATCH:
                self.refuse(
                    "production names the batch '_batch', and here that is another variable",
                    hint="give that variable another name",
                )

    def _known(self) -> str:
        variables = self.scope.variables
        return ", ".join(
            name
            for name, shape in variables.items()
            if shape is not EVENT and not (name == "batch" and shape is BATCH)
        )
