"""Listeners of a WebSocket server: connections before and after the handshake, and their queues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.server import ServerConnection

if TYPE_CHECKING:
    from flowdsl.sinks.tokens import Grant

# connections before their handshake; the oldest are closed when more come
STRANGERS: Final = 64
# seconds to wait for listeners that are behind before they count as too slow
PATIENCE: Final = 2.0
_TURN: Final = 0.005


class Listener:
    """Connection, the recipients it listens for, and its queue."""

    def __init__(self, recipients: frozenset[str] | None) -> None:
        # None stands for everybody
        self.recipients: Iterable[str | None] = (None,) if recipients is None else recipients
        self.waiting: asyncio.Queue[str] = asyncio.Queue()
        self.slow = asyncio.Event()


class Listeners:
    """Connected listeners, by recipient."""

    def __init__(self, queue: int) -> None:
        self._queue = queue
        self._everybody: set[Listener] = set()
        self._for: dict[str | None, set[Listener]] = {}

    def __len__(self) -> int:
        return len(self._everybody)

    def add(self, listener: Listener) -> None:
        """Add a listener."""
        self._everybody.add(listener)
        for recipient in listener.recipients:
            self._for.setdefault(recipient, set()).add(listener)

    def remove(self, listener: Listener) -> None:
        """Remove a listener."""
        self._everybody.discard(listener)
        for recipient in listener.recipients:
            listening = self._for.get(recipient, set())
            listening.discard(listener)
            if not listening:
                self._for.pop(recipient, None)

    def of(self, recipient: str | None) -> Iterable[Listener]:
        """Return the listeners of a recipient; all of them if the recipient is None."""
        if recipient is None:
            return self._everybody
        return self._for.get(recipient, set()) | self._for.get(None, set())

    async def caught_up(self, reached: Iterable[Listener]) -> None:
        """Wait until every queue has room; listeners that stay behind are too slow."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while behind := [one for one in reached if self._is_behind(one)]:
            if loop.time() > end:
                for listener in behind:
                    listener.slow.set()
                return
            await asyncio.sleep(_TURN)

    def _is_behind(self, listener: Listener) -> bool:
        return (
            listener.waiting.qsize() > self._queue
            and listener in self._everybody
            and not listener.slow.is_set()
        )


class Door:
    """Connections before their handshake; their number is limited."""

    def __init__(self, refused: Callable[[], None]) -> None:
        self._refused = refused
        self._strangers: dict[Guest, None] = {}
        self.inside: set[Guest] = set()

    def came(self, guest: Guest) -> None:
        """Register a new connection; if there are too many, the oldest is closed."""
        if len(self._strangers) >= STRANGERS:
            oldest = next(iter(self._strangers))
            self._refused()
            oldest.transport.abort()
            del self._strangers[oldest]
        self._strangers[guest] = None

    def entered(self, guest: Guest) -> None:
        """Note that a connection has completed its handshake."""
        self._strangers.pop(guest, None)
        self.inside.add(guest)

    def left(self, guest: Guest) -> None:
        """Note that a connection has ended."""
        self._strangers.pop(guest, None)
        self.inside.discard(guest)

    def turn_away(self, *, strangers_only: bool) -> None:
        """Close connections immediately."""
        for guest in [*self._strangers, *(() if strangers_only else self.inside)]:
            guest.transport.abort()


class Guest(ServerConnection):
    """Connection before its handshake, and what it was granted."""

    grant: Grant | None = None

    def __init__(self, *given: Any, door: Door, **options: Any) -> None:
        super().__init__(*given, **options)
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._door.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.left(self)
        super().connection_lost(exc)


def most_connections() -> int:
    """Return how many file descriptors connections may use: half of those of the process."""
    try:
        import resource
    except ImportError:
        # Windows has no such limit
        return 1 << 30
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft // 2
