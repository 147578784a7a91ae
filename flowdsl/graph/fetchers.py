"""Entities supplied by functions, which are called with many ids at once, and once for each id."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from flowdsl.errors import DataError
from flowdsl.graph.ingest import entity_documents
from flowdsl.values.interner import Codes, Interner
from flowdsl.values.json_extraction import Documents
from flowdsl.values.json_types import Index, Mask
from flowdsl.values.orders import distinct
from flowdsl.values.state_fields import ArrayField, SharedField, TextField
from flowdsl.values.state_objects import StateObject, StateReader, keeps


class Fetcher:
    """Function that supplies entities, with a cache shared by all replays of a graph."""

    def __init__(self, name: str, function: Callable[[list[str]], Any]) -> None:
        self.name = name
        self._function = function
        self._lock = threading.Lock()
        self._known: dict[str, int | None] = {}
        self._answers: list[tuple[pl.Series, Documents]] = []

    def session(self) -> FetcherSession:
        """Start a session for one replay."""
        return FetcherSession(self)

    def _call(self, ids: list[str]) -> Any:
        try:
            return self._function(ids)
        # user functions may raise anything: keep the message, and chain the error
        except Exception as error:
            raise DataError(
                f"the function for entities {self.name!r} raised {type(error).__name__}: {error}",
                allowed="a function from a list of ids to a frame with 'id', or a mapping id → object",
            ) from error

    def ask(self, texts: list[str]) -> list[tuple[pl.Series, Documents]]:
        """Call the function; return the ids that it knows, and their objects."""
        with self._lock:
            unknown = [t for t in texts if t not in self._known]
            if unknown:
                ids, documents = entity_documents(self.name, self._call(unknown))
                self._known.update(dict.fromkeys(unknown))
                self._known.update(dict.fromkeys(ids.to_list(), len(self._answers)))
                self._answers.append((ids, documents))
            wanted = {self._known[t] for t in texts} - {None}
            chosen = pl.Series(texts, dtype=pl.String)
            answers = []
            for number in sorted(n for n in wanted if n is not None):
                ids, documents = self._answers[number]
                rows = np.flatnonzero(ids.is_in(chosen.implode()).to_numpy())
                answers.append((ids.gather(rows), documents.gather(rows)))
            return answers


class FetcherSession(StateObject):
    """Fetcher as used by one replay, with the ids that it has already requested."""

    saved = keeps(name=TextField(), _asked=ArrayField(np.bool_), fetchers=SharedField("fetchers"))

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._asked: Mask = np.zeros(1, np.bool_)

    def held_codes(self) -> Iterator[Any]:
        yield np.flatnonzero(self._asked)

    def to_fields(self) -> dict[str, Any]:
        return {"name": self._fetcher.name, "_asked": self._asked, "fetchers": None}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> FetcherSession:
        if fields["name"] not in fields["fetchers"]:
            raise DataError(
                f"the state knows entities {fields['name']!r} from a function, and the graph has none",
                hint="give the graph with the same functions as before",
            )
        session = cls(fields["fetchers"][fields["name"]])
        source.check(len(fields["_asked"]), "empty")
        session._asked = fields["_asked"]
        return session

    def fork(self) -> FetcherSession:
        """Return a copy."""
        forked = FetcherSession(self._fetcher)
        forked._asked = self._asked.copy()
        return forked

    def fetch(self, ids: Codes, interner: Interner) -> list[tuple[Codes, Documents]]:
        """Yield the entities among ids that this replay has not requested before."""
        fresh = self._find_unasked(distinct(ids[ids > 0]))
        if not len(fresh):
            return []
        answers = self._fetcher.ask(interner.texts(fresh).to_list())
        # not earlier: after a failure, a live run asks again
        self._asked[fresh] = True
        return [(interner.intern(found), documents) for found, documents in answers]

    def _find_unasked(self, codes: Codes) -> Index:
        if not len(codes):
            return codes
        size = int(codes.max()) + 1
        if size > len(self._asked):
            grown = np.zeros(max(size, 2 * len(self._asked)), np.bool_)
            grown[: len(self._asked)] = self._asked
            self._asked = grown
        return codes[~self._asked[codes]]
