"""A list of findings that is displayed as a table in notebooks, and as text elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowdsl.findings.base import Finding
from flowdsl.views.templates import render

if TYPE_CHECKING:
    import pandas as pd


class FindingTable(list[Finding]):
    """A list of findings, which notebooks show as a table.

    Examples
    --------
    >>> FindingTable()
    no findings
    """

    def to_pandas(self) -> pd.DataFrame:
        """Return a row for each finding.

        Returns
        -------
        pandas.DataFrame
            `code`, `severity`, `flow`, `step`, `where`, `message` and `hint`.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").map(title="hello").check().to_pandas()["code"].tolist()
        ['no-deliver', 'every-type']
        """
        import pandas as pd

        return pd.DataFrame([finding.to_dict() for finding in self], columns=list(Finding.__annotations__))

    def __repr__(self) -> str:
        return "\n".join(map(str, self)) or "no findings"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        html = render("reports/finding_table.html.j2", findings=self)
        return {"text/plain": repr(self), "text/html": html}
