"""Chromium without a window, driven over a pipe (the Chrome DevTools Protocol): keys, pages,
pictures."""

import base64
import contextlib
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_KEYS = {"Tab": 9, "Enter": 13, "Space": 32, "Backspace": 8}


class Browser:
    """One page of one browser."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._answers: queue.Queue[dict] = queue.Queue()
        self.requests: list[str] = []
        """The addresses that the page has asked for."""
        self.errors: list[str] = []
        """What its scripts have thrown."""
        self._number = 0
        self._session: str | None = None
        threading.Thread(target=self._listen, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def _listen(self) -> None:
        text = b""
        while piece := os.read(self._read, 1 << 20):
            *whole, text = (text + piece).split(b"\0")
            for message in map(json.loads, whole):
                if "id" in message:
                    self._answers.put(message)
                elif message["method"] == "Network.requestWillBeSent":
                    self.requests.append(message["params"]["request"]["url"])
                elif message["method"] == "Runtime.exceptionThrown":
                    self.errors.append(json.dumps(message["params"]["exceptionDetails"]))

    def call(self, method: str, **params: object) -> dict:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answer = self._answers.get(timeout=60)
        assert "error" not in answer, answer
        return answer["result"]

    def ask(self, script: str):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 60.0) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + seconds
        while not self.ask(f"Boolean({script})"):
            assert time.monotonic() < end, (script, self.ask("document.body.innerText"))
            time.sleep(0.1)

    def open(self, address: str, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Show a page on a screen of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)

    def press(self, key: str) -> None:
        """Press and release a key."""
        code = _KEYS[key]
        text = {"Enter": "\r", "Space": " "}.get(key, "")
        event = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def write(self, text: str) -> None:
        """Write over what is in the field that has the focus."""
        self.ask("document.activeElement.select()")
        self.call("Input.insertText", text=text)

    def picture(self) -> bytes:
        """The whole page as a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        return base64.b64decode(data)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A fresh browser; it ends with the block."""
    here_read, there_write = os.pipe()
    there_read, here_write = os.pipe()

    def as_three_and_four() -> None:
        # The numbers that the browser expects; either may be one of the four.
        spare_read, spare_write = os.dup(there_read), os.dup(there_write)
        os.dup2(spare_read, 3)
        os.dup2(spare_write, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += [f"--user-data-dir={profile}", "--remote-debugging-pipe", "--hide-scrollbars"]
        process = subprocess.Popen(
            [*command, "--disable-background-networking", "--disable-dev-shm-usage", "about:blank"],
            preexec_fn=as_three_and_four,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(there_read)
        os.close(there_write)
        try:
            yield Browser(here_write, here_read)
        finally:
            process.kill()
            process.wait()
            os.close(here_write)
