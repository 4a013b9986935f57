"""Drives a headless Chromium over the DevTools protocol, one page at a time.

It knows the protocol (a websocket with JSON messages) and how a browser is started and ended. It does not know what
the page shows. `chromium()` says where the browser is, or skips the test.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

WAIT_S = 30.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
)
KEYS = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "Tab": (9, ""),
    " ": (32, " "),
    "ArrowRight": (39, ""),
    "ArrowLeft": (37, ""),
    "End": (35, ""),
    "Home": (36, ""),
}
CTRL, SHIFT = 2, 8


def chromium() -> str:
    """The browser's path; skips where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium on the PATH: the page is only tested where a browser is installed")
    return found


@contextmanager
def browser() -> Iterator[Page]:
    """A page of a browser that is ended, with its profile, afterwards."""
    command = chromium()
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as folder:
        arguments = [command, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_address(Path(folder), process), max_size=None, ping_interval=None) as socket:
                page = Page(socket)
                yield page
                page.close_browser()
            process.wait(WAIT_S)
        finally:
            process.kill()
            process.wait()


def _address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """The websocket that the browser says it listens on."""
    file = folder / "DevToolsActivePort"
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        assert process.poll() is None, f"chromium ended with code {process.returncode}"
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.02)
    raise AssertionError("chromium did not say where it listens")


class Page:
    """A page. `requests` holds the URLs it asked for, `violations` what its policy refused, `errors` its mishaps."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.violations: list[str] = []
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Audits", "DOM"):
            self.call(f"{domain}.enable")

    def close_browser(self) -> None:
        self._session = None
        self.call("Browser.close")

    # --- the protocol ------------------------------------------------------------------------------------------------

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command. Raises AssertionError with the browser's own words."""
        self._ids += 1
        message: dict[str, Any] = {"id": self._ids, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(WAIT_S))
            if answer.get("id") == self._ids:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self._note(answer.get("method", ""), answer.get("params", {}))

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Audits.issueAdded" and "ContentSecurityPolicy" in params["issue"]["code"]:
            self.violations.append(json.dumps(params["issue"]["details"]))
        elif event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(value.get("value")) for value in params["args"]))

    # --- what a person does ------------------------------------------------------------------------------------------

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page (a promise is awaited)."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if details := answer.get("exceptionDetails"):
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def until(self, expression: str, within_s: float = WAIT_S) -> Any:
        """The expression's value, once it is true."""
        ends = time.monotonic() + within_s
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < ends, f"never came true: {expression}"
            time.sleep(0.02)
        return value

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''"))

    def count(self, selector: str) -> int:
        return int(self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def key(self, key: str, modifiers: int = 0) -> None:
        """Presses and lets go of a key, as the keyboard does."""
        code, text = KEYS.get(key, (ord(key[0].upper()), key))
        named = {"key": key, "code": key if len(key) > 1 else "", "windowsVirtualKeyCode": code, "modifiers": modifiers}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **named, **down)
        self.call("Input.dispatchKeyEvent", **named, type="keyUp")

    def write(self, text: str) -> None:
        """Types a text where the focus is."""
        self.call("Input.insertText", text=text)

    def focused(self) -> str:
        """The id of what has the focus."""
        return str(self.evaluate("document.activeElement.id"))

    def tab_to(self, element_id: str, most: int = 60) -> None:
        """Moves the focus there with the Tab key alone."""
        for _ in range(most):
            if self.focused() == element_id:
                return
            self.key("Tab")
        raise AssertionError(f"the Tab key does not reach {element_id}")

    def choose_file(self, selector: str, path: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def downloads_to(self, folder: Path) -> None:
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    # --- how it looks ------------------------------------------------------------------------------------------------

    def window(self, width: int, height: int, *, phone: bool = False, dark: bool = False, calm: bool = False) -> None:
        """The size of the window, and what the person prefers."""
        scale = 2 if phone else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
