"""Chromium, and the servers on 127.0.0.1 that tests and screenshots show in it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
SETTINGS: Mapping[str, Mapping[str, object]] = {
    # no news from the network, no question about them
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # dark where the browser prefers that
    "apputils-extension/themes": {"adaptive-theme": True},
    # cells outside of the window are drawn as well
    "notebook-extension/tracker": {"windowingMode": "none"},
}
SECONDS = 120


@contextmanager
def chromium_browser() -> Iterator[Any]:
    """A browser that finds no other host: until its end, this thread is in Playwright's event loop."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        yield browser
        browser.close()


@dataclass
class Lab:
    """A JupyterLab server that runs, and the folder that it shows."""

    folder: Path
    address: str
    token: str

    def ask(self, path: str, method: str = "GET") -> Any:
        """The JSON that the server's REST interface answers."""
        request = urllib.request.Request(
            f"{self.address}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.loads(answer.read() or "null")

    def end_kernels(self) -> None:
        """End every kernel, without waiting for what it computes."""
        for session in self.ask("sessions"):
            self.ask(f"sessions/{session['id']}", "DELETE")


@contextmanager
def jupyterlab(home: Path, themes: Mapping[str, object] | None = None) -> Iterator[Lab]:
    """A JupyterLab with settings, files and kernels of its own; `themes` are its settings of themes."""
    settings = {**SETTINGS, "apputils-extension/themes": themes or SETTINGS["apputils-extension/themes"]}
    for name, values in settings.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    port = free_port()
    lab = Lab(home / "notebooks", f"http://127.0.0.1:{port}", secrets.token_hex(16))
    lab.folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={lab.token}",
        f"--ServerApp.root_dir={lab.folder}",
        "--LabApp.extension_manager=readonly",
        "--LabApp.expose_app_in_browser=True",
    ]
    with served(command, home, lambda: lab.ask("status")):
        yield lab
        lab.end_kernels()


@contextmanager
def served(command: Sequence[str], home: Path, ask: Callable[[], object]) -> Iterator[None]:
    """Run a server until the end of the block; it is there once `ask` raises no `OSError`."""
    home.mkdir(parents=True, exist_ok=True)
    log = home / "log"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=environment(home), cwd=home)
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                ask()
                break
            except OSError as error:
                if server.poll() is not None or time.monotonic() > deadline:
                    text = f"{command[2]} does not answer:\n{log.read_text()[-3000:]}"
                    raise RuntimeError(text) from error
                time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(SECONDS)


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    """The environment of a server that leaves the settings of the person who runs it alone."""
    own = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    return {
        **os.environ,
        **own,
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "XDG_CONFIG_HOME": str(home / "xdg"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
