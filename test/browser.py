"""A page in headless Chromium, driven through its pipe (DevTools protocol), with the standard library only."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """Opens one page; scripts are evaluated in it, clicks are those of a mouse."""

    def __init__(self, width=1600, height=900, timeout=120):
        self.timeout = timeout
        self.profile = tempfile.TemporaryDirectory()
        to_read, self.to = os.pipe()  # ours to it: it reads from 3 and writes to 4
        self.source, from_write = os.pipe()

        def place():  # in the child; the numbers may overlap, hence the copies
            a, b = os.dup(to_read), os.dup(from_write)
            a, b = os.dup2(a, 100, True), os.dup2(b, 101, True)
            os.dup2(a, 3, True)
            os.dup2(b, 4, True)

        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--disable-background-networking", "--disable-component-update", f"--window-size={width},{height}",
                   f"--user-data-dir={self.profile.name}", "--remote-debugging-pipe", "about:blank"]  # fmt: skip
        self.process = subprocess.Popen(command, close_fds=False, preexec_fn=place, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        os.close(to_read)
        os.close(from_write)
        self.buffer, self.number, self.session = b"", 0, None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Runtime.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.to)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.source)
        try:
            self.profile.cleanup()
        except OSError:  # something of it is still being written
            pass

    def _message(self, deadline):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.source], [], [], max(0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self.source, 1 << 20)
            assert data, "the browser ended"
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]
        deadline = time.monotonic() + self.timeout
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def errors(self):
        """What the page threw or logged as an error."""
        return [e["params"] for e in self.events
                if e.get("method") == "Runtime.exceptionThrown"
                or (e.get("method") == "Runtime.consoleAPICalled" and e["params"]["type"] == "error")]  # fmt: skip

    def open(self, path: Path) -> float:
        """Seconds until the page says that it is ready."""
        begin = time.monotonic()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self.js("document.body && document.body.dataset.ready"):
            assert time.monotonic() - begin < self.timeout, f"the page is not ready: {self.errors()}"
            time.sleep(0.02)
        return time.monotonic() - begin

    def js(self, expression):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def click(self, selector: str):
        """A mouse click on the middle of the first match."""
        box = self.js(f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            if (!e) return null; const b = e.getBoundingClientRect();
            return [b.x + Math.min(b.width, 120) / 2, b.y + b.height / 2]; }})()""")
        assert box, f"nothing matches {selector}"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, selector: str, text: str):
        self.js(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
