"""A client of yaml-language-server, which editors ask about YAML, over its standard input and output."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import subprocess
import threading
from pathlib import Path
from typing import Any, NamedTuple, Self

CARET = "‸"


class Place(NamedTuple):
    """A document, and a position in it."""

    text: str
    line: int
    character: int

    @classmethod
    def of(cls, marked: str) -> Place:
        """The document and position of a text that has one caret."""
        before, _, after = marked.partition(CARET)
        return cls(before + after, before.count("\n"), len(before.rpartition("\n")[2]))


class LanguageServer:
    """One running server. Documents lie in a folder that has a schema beside them, as it is with users.

    It may take `patience` seconds for an answer: a server that hangs is a failure, not a test without end.
    """

    def __init__(self, command: list[str], folder: Path, *, patience: float = 60) -> None:
        self.folder, self.patience = folder, patience
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder
        )
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._diagnostics: dict[str, queue.Queue[list[dict[str, Any]]]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        root = folder.as_uri()
        capabilities = {
            "textDocument": {
                "completion": {
                    "completionItem": {
                        "snippetSupport": True,
                        "documentationFormat": ["markdown", "plaintext"],
                    }
                },
                "hover": {"contentFormat": ["markdown", "plaintext"]},
                "publishDiagnostics": {},
            },
            "workspace": {"configuration": True},
        }
        self.request(
            "initialize",
            {"processId": None, "rootUri": root, "rootPath": str(folder), "capabilities": capabilities},
        )
        self._notify("initialized", {})

    def completions(self, marked: str) -> dict[str, dict[str, Any]]:
        """The proposals at the caret, by their label."""
        found = self._at(marked, "textDocument/completion")
        items = found["items"] if isinstance(found, dict) else found or []
        labels = [item["label"] for item in items]
        assert len(labels) == len(set(labels)), f"offered twice: {labels}"
        return {item["label"]: item for item in items}

    def hover(self, marked: str) -> str:
        """What is shown when the pointer rests at the caret."""
        found = self._at(marked, "textDocument/hover")
        return found["contents"]["value"] if found else ""

    def problems(self, text: str) -> list[str]:
        """The messages about a document."""
        uri = self._open(text)
        found = self._diagnostics[uri].get(timeout=self.patience)
        self._close(uri)
        return [problem["message"] for problem in found]

    def _at(self, marked: str, method: str) -> Any:
        place = Place.of(marked)
        uri = self._open(place.text)
        position = {"line": place.line, "character": place.character}
        answer = self.request(method, {"textDocument": {"uri": uri}, "position": position})
        self._close(uri)
        return answer

    def _open(self, text: str) -> str:
        uri = (self.folder / f"flows-{next(self._numbers)}.yaml").as_uri()
        self._diagnostics[uri] = queue.Queue()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._notify("textDocument/didOpen", {"textDocument": document})
        return uri

    def _close(self, uri: str) -> None:
        self._notify("textDocument/didClose", {"textDocument": {"uri": uri}})

    def request(self, method: str, params: Any) -> Any:
        number = next(self._numbers)
        waiting = self._answers[number] = queue.Queue()
        self._send({"id": number, "method": method, "params": params})
        answer = waiting.get(timeout=self.patience)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _notify(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._process.stdin.flush()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while header := stream.readline():
            length = int(header.split(b":")[1])
            while stream.readline().strip():
                pass
            self._receive(json.loads(stream.read(length)))

    def _receive(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method == "textDocument/publishDiagnostics":
            params = message["params"]
            if params["uri"] in self._diagnostics:
                self._diagnostics[params["uri"]].put(params["diagnostics"])
        elif method is None:
            self._answers[message["id"]].put(message)
        elif "id" in message:
            # the server asks for settings: the defaults, and no look at schemas of others
            asked = message["params"].get("items", []) if method == "workspace/configuration" else None
            settings = [self._setting(item.get("section")) for item in asked] if asked is not None else None
            self._send({"id": message["id"], "result": settings})

    def _setting(self, section: str | None) -> Any:
        return (
            {"schemaStore": {"enable": False}, "hover": True, "completion": True, "validate": True}
            if section == "yaml"
            else {}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        with contextlib.suppress(OSError):
            self.request("shutdown", None)
            self._notify("exit", None)
        self._process.wait(self.patience)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._reader.join(self.patience)
        self._process.stdout.close()
