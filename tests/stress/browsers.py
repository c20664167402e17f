"""The layout of every view in Firefox and in WebKit, as the tests judge it in Chromium.

    python -m tests.stress.browsers [--browser firefox|webkit] [--keep FOLDER]

Needs Debian's `firefox-esr`, and `webkit2gtk-driver` with `xvfb`; a browser that is not here is
skipped with a word. Exits with 1 where something overlaps or leaves its box, with 2 where there is
no browser.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.e2e.browser import serve
from tests.e2e.layout import LAYOUT, SIZES, WIDTHS, stock, views

PATIENCE_S = 90
HEIGHT, SCROLLBAR = 900, 20
TWO_FRAMES = """
const done = arguments[arguments.length - 1];
requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
"""


class Driver(Protocol):
    """One window of a browser."""

    def go(self, url: str) -> None: ...

    def run(self, script: str, *arguments: Any) -> Any: ...

    def wait(self, script: str) -> None:
        """Run a script that calls its last argument when it is done."""

    def resize(self, width: int) -> None:
        """Have the page be so many pixels wide."""

    def picture(self) -> bytes:
        """PNG."""


class Firefox:
    """Over Marionette, which Firefox itself answers: [kind, id, command, parameters] with its
    length before it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._file = connection, connection.makefile("rb")
        self._read()  # a greeting
        self._ask("WebDriver:NewSession", capabilities={"alwaysMatch": {}})

    def go(self, url: str) -> None:
        self._ask("WebDriver:Navigate", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        return self._ask("WebDriver:ExecuteScript", script=script, args=list(arguments))["value"]

    def wait(self, script: str) -> None:
        self._ask("WebDriver:ExecuteAsyncScript", script=script, args=[])

    def resize(self, width: int) -> None:
        # Its windows are not as narrow as phones, but what is in them may be.
        self._ask("Marionette:SetContext", value="chrome")
        narrow = "const {style} = gBrowser.selectedBrowser; style.flex = 'none'; style.width = "
        self.run(f"{narrow}style.minWidth = style.maxWidth = '{width}px'")
        self._ask("Marionette:SetContext", value="content")

    def picture(self) -> bytes:
        shot = self._ask("WebDriver:TakeScreenshot", id=None, full=True, hash=False)
        return base64.b64decode(shot["value"])

    def _ask(self, command: str, **parameters: Any) -> Any:
        text = json.dumps([0, 1, command, parameters]).encode()
        self._connection.sendall(f"{len(text)}:".encode() + text)
        _, _, error, result = self._read()
        if error:
            raise RuntimeError(f"{command}: {error['error']}: {error['message']}")
        return result

    def _read(self) -> Any:
        digits = b""
        while (byte := self._file.read(1)) != b":":
            if not byte:
                raise RuntimeError("Firefox has ended")
            digits += byte
        return json.loads(self._file.read(int(digits)))


class WebKit:
    """Over WebDriver."""

    def __init__(self, client: httpx.Client, browser: Path) -> None:
        self._client, self._session = client, ""
        options = {"binary": str(browser), "args": ["--automation"]}
        asked = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
        self._session = f"/session/{self._ask('POST', '/session', asked)['sessionId']}"

    def go(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str) -> None:
        self._ask("POST", "/execute/async", {"script": script, "args": []})

    def resize(self, width: int) -> None:
        frame = 0
        for _ in range(3):  # the window has a frame, which is known once it has been resized
            size = {"width": width + frame, "height": HEIGHT, "x": 0, "y": 0}
            self._ask("POST", "/window/rect", size)
            self.wait(TWO_FRAMES)
            if (found := int(self.run("return innerWidth"))) == width:
                break
            frame += width - found
        # Its windows are not as narrow as phones. The layout is one of containers, the outermost
        # being the page's body, so it is made narrow itself.
        narrow = f"{width}px" if found > width else ""
        self.run("document.documentElement.style.width = arguments[0]", narrow)

    def picture(self) -> bytes:
        return base64.b64decode(self._ask("GET", "/screenshot", None))

    def _ask(self, method: str, path: str, body: Any) -> Any:
        answer = self._client.request(method, self._session + path, json=body)
        value = answer.json()["value"]
        if answer.is_error:
            raise RuntimeError(f"{path}: {value['error']}: {value['message']}")
        return value


def free_port() -> int:
    """A port that nobody listens at."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def firefox() -> Iterator[Driver]:
    """Firefox without a window."""
    port = free_port()
    settings = {"marionette.port": port, "app.update.auto": False, "ui.prefersReducedMotion": 1}
    with tempfile.TemporaryDirectory() as profile:
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in settings.items()]
        Path(profile, "user.js").write_text("\n".join(lines))
        environment = {"HOME": profile, "MOZ_HEADLESS_WIDTH": "2700", "MOZ_HEADLESS_HEIGHT": "1100"}
        # With access to its own window, whose content is made as narrow as a phone.
        options = ("--headless", "--marionette", "--remote-allow-system-access")
        command = ["firefox-esr", *options, "--profile", profile]
        with process(command, environment), connected(port) as connection:
            yield Firefox(connection)


@contextmanager
def webkit() -> Iterator[Driver]:
    """WebKitGTK's own small browser, on a screen that nobody sees."""
    port, display = free_port(), f":{free_port() % 1000 + 100}"
    with ExitStack() as stack:
        stack.enter_context(process(["Xvfb", display, "-screen", "0", "2700x1100x24"], {}))
        environment = {"DISPLAY": display, "GDK_BACKEND": "x11", "LIBGL_ALWAYS_SOFTWARE": "1"}
        command = ["WebKitWebDriver", f"--port={port}"]
        stack.enter_context(process(command, environment))
        stack.enter_context(connected(port))
        url = f"http://127.0.0.1:{port}"
        client = stack.enter_context(httpx.Client(base_url=url, timeout=PATIENCE_S))
        yield WebKit(client, mini_browser())


def mini_browser() -> Path:
    """Where Debian's package has it."""
    return next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), Path("MiniBrowser"))


@contextmanager
def process(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    """A program that is ended with the block."""
    started = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A connection to a program that starts."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
            break
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    with connection:
        yield connection


BROWSERS = {
    "firefox": (firefox, ("firefox-esr",)),
    "webkit": (webkit, ("WebKitWebDriver", "Xvfb")),
}
"""How each is started, and the programs that it needs."""


def until(driver: Driver, selector: str) -> None:
    """Wait for an element, and for the pictures of the page."""
    end = time.monotonic() + PATIENCE_S
    ready = "return !!document.querySelector(arguments[0]) && !document.querySelector('.loading')"
    while not driver.run(ready, selector):
        if time.monotonic() > end:
            raise RuntimeError(f"{selector} did not appear")
        time.sleep(0.1)


def judge(name: str, driver: Driver, url: str, pages: list[tuple[str, str]], keep: Path) -> int:
    """The number of faults; each is printed once."""
    faults: dict[str, str] = {}
    for number, (path, ready) in enumerate(pages, 1):
        driver.go("about:blank")
        driver.go(url + path)
        until(driver, ready)
        driver.run("for (const each of document.querySelectorAll('details')) each.open = true")
        for size in SIZES:
            driver.run("document.documentElement.style.fontSize = arguments[0]", size)
            for width in WIDTHS:
                driver.resize(width)
                driver.wait(TWO_FRAMES)
                body = driver.run("return document.documentElement.getBoundingClientRect().width")
                if not width - SCROLLBAR <= body <= width:
                    raise RuntimeError(f"{name}: expected a page of {width} pixels, got {body}")
                for fault in driver.run(f"return ({LAYOUT})()"):
                    faults.setdefault(fault, f"{path} at {width}{size and f', text {size}'}")
                if not size and keep.is_dir():
                    (keep / f"{name}-{number}-{width}.png").write_bytes(driver.picture())
        print(f"{name}: view {number} of {len(pages)}", file=sys.stderr, flush=True)
    for fault, where in faults.items():
        print(f"{name}: {where}: {fault}", flush=True)
    print(f"{name}: {len(pages)} views at {len(WIDTHS)} widths, {len(faults)} faults", flush=True)
    return len(faults)


def main() -> int:
    """1 where there are faults, 2 where no browser is here."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--browser", action="append", choices=BROWSERS, help="default: all")
    parser.add_argument("--keep", type=Path, default=Path("-"), help="a folder for pictures")
    given = parser.parse_args()
    here = {}
    for name in given.browser or BROWSERS:
        start, needed = BROWSERS[name]
        if missing := [program for program in needed if not shutil.which(program)]:
            print(f"{name}: skipped, there is no {', '.join(missing)}", file=sys.stderr)
        else:
            here[name] = start
    if not here:
        return 2
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        stock(home)
        with serve(home) as url:
            pages, found = views(url), 0
            for name, start in here.items():
                with start() as driver:
                    found += judge(name, driver, url, pages, given.keep)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
