"""Collected export errors, so that all problems of a flow are reported at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from flowdsl.errors import BuildError, ExportError
from flowdsl.operators.batch import BATCH
from flowdsl.operators.scope import BEFORE, EVENT, Scope
from flowdsl.values.paths import Path, path_text

# the fields of `batch` that production's `_batch` has
BATCH_PARTS: Final = ("count", "key", "items")


class ExportErrors:
    """Export errors of one flow."""

    def __init__(self, flow: str) -> None:
        self.flow = flow
        self.problems: list[BuildError] = []

    def refuse(
        self, what: str, *, step: str | None = None, allowed: str | None = None, hint: str | None = None
    ) -> None:
        """Add an error."""
        self.problems.append(BuildError(what, flow=self.flow, step=step, allowed=allowed, hint=hint))

    def finish(self) -> None:
        """Raise the errors, if there are any."""
        if self.problems:
            raise ExportError(self.problems)


@dataclass(frozen=True)
class StepExportScope:
    """Variables before a step under production's names, and the collector of its errors."""

    scope: Scope
    step: str
    refusals: ExportErrors
    # the part of the step that is being lowered, such as `title` of a template
    part: str = field(default="")

    def within(self, part: str) -> StepExportScope:
        """Return the scope of a part of the step."""
        return replace(self, part=part)

    def refuse(self, what: str, *, allowed: str | None = None, hint: str | None = None) -> None:
        """Add an error for this step."""
        self.refusals.refuse(
            f"{self.part}: {what}" if self.part else what, step=self.step, allowed=allowed, hint=hint
        )

    def path(self, path: Path) -> Path:
        """Return the path in production; report an error if it has no such variable."""
        self.check([path])
        return (self.root(path[0]), *path[1:])

    def root(self, name: str) -> str:
        """Return the name of a variable in production: `batch` is `_batch` there."""
        return "_batch" if name == "batch" and self.scope.variables.get(name) is BATCH else name

    def check(self, paths: Iterable[Path]) -> None:
        """Report the paths that production does not have."""
        for path in sorted(paths):
            shape = self.scope.variables.get(path[0])
            if shape is EVENT:
                self._refuse_variable(
                    path,
                    "the event itself is not a variable there",
                    "let the events carry it in their data, and read that",
                )
            elif shape is BEFORE:
                self._refuse_variable(
                    path,
                    "it keeps no entity as it was before the event",
                    "let the events carry what was before, and read that: data.before",
                )
            elif shape is BATCH:
                self._check_batch(path)

    def _refuse_variable(self, path: Path, why: str, hint: str) -> None:
        self.refuse(f"production has no {path_text(path)!r}: {why}", allowed=self._known(), hint=hint)

    def _check_batch(self, path: Path) -> None:
        name, *below = path
        if below and below[0] not in BATCH_PARTS:
            self.refuse(
                f"production's batch has no {below[0]!r}",
                allowed=", ".join(f"_batch.{part}" for part in BATCH_PARTS),
                hint="use _batch.count, _batch.key or _batch.items",
            )
        elif name == "batch" and self.scope.variables.get("_batch") is not BATCH:
            self.refuse(
                "production names the batch '_batch', and here that is another variable",
                hint="give that variable another name",
            )

    def _known(self) -> str:
        variables = self.scope.variables
        return ", ".join(
            name
            for name, shape in variables.items()
            if shape not in (EVENT, BEFORE) and not (name == "batch" and shape is BATCH)
        )
