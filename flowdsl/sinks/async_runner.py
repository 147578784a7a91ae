"""Event loop on a thread of its own, for sinks that wait for the network."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from flowdsl.errors import SinkError
from flowdsl.log.forks import watch

T = TypeVar("T")


class Background:
    """Runner of coroutines for synchronous callers, also inside a notebook's event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._end: weakref.finalize[[asyncio.AbstractEventLoop], Background] | None = None
        # its loop turns in the process that this one was forked off
        self._is_forked = False
        watch(self)

    def after_fork(self) -> None:
        """Leave the loop to the parent process."""
        self._is_forked |= self._loop is not None
        if self._end is not None:
            self._end.detach()
        self._loop = self._thread = self._end = None
        self._lock = threading.Lock()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return its result; interrupting the caller cancels it."""
        if self._is_forked:
            coroutine.close()
            raise SinkError(
                f"{self._name} was opened by the process that this one was forked off",
                hint="close it, and open it anew in this process",
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self._start())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self, farewell: Callable[[], Coroutine[Any, Any, object]] | None = None) -> None:
        """Run a farewell if the thread is running, cancel what else is, and end the thread."""
        if farewell is not None and self._loop is not None:
            self.run(farewell())
        with self._lock:
            thread, end = self._thread, self._end
            self._loop = self._thread = self._end = None
            self._is_forked = False
        if thread is not None and end is not None:
            end()
            thread.join()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_turn, args=(self._loop,), name=self._name, daemon=True
                )
                self._thread.start()
                # an unreferenced sink takes its thread with it
                self._end = weakref.finalize(self, _stop, self._loop)
                self._end.atexit = False
            return self._loop


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(_cancel_all())
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon_threadsafe(loop.stop)


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
