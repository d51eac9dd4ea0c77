"""A headless Chromium that tests talk to, and pages in it."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))), None)
PATIENCE = 60  # seconds


class Browser:
    """Chromium, asked in its own protocol over a pipe: no port is opened.

    Everything that it says unasked (errors, requests) is in `events`.
    """

    def __init__(self, profile):
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()

        def as_three_and_four():
            read, write = os.dup(to_browser), os.dup(from_browser)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self._process = subprocess.Popen(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--mute-audio"),
                *("--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
            ],
            preexec_fn=as_three_and_four,
            pass_fds=(3, 4, to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._numbers = itertools.count(1)
        self._rest = b""
        self.events = []

    def close(self):
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._to)
        os.close(self._from)

    def ask(self, method, session=None, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        while b"\0" not in self._rest:
            part = os.read(self._from, 2**20)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


class Page:
    """One page in a browser of its own kind: wide or narrow, light or dark."""

    def __init__(self, browser, path, *, wide=1440, high=900, dark=False, fragment=""):
        self._browser = browser
        browser.events.clear()
        target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._target, self._session = target, attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=wide,
            height=high,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=path.as_uri() + fragment)
        self.wait_for("document.documentElement?.dataset.ready === 'yes'")

    def ask(self, method, **parameters):
        return self._browser.ask(method, self._session, **parameters)

    def run(self, script):
        """What a script in the page gives, after its promise if it is one."""
        found = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, condition):
        until = time.monotonic() + PATIENCE
        while not self.run(condition):
            assert time.monotonic() < until, (condition, self.complaints())
            time.sleep(0.1)

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def texts(self, selector):
        return self.run(
            f"Array.from(document.querySelectorAll({json.dumps(selector)}), e => e.innerText)"
        )

    def set(self, selector, value):
        """Choose or type a value, as a person would."""
        self.run(
            f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input')); "
            "e.dispatchEvent(new Event('change')); })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def place(self, selector):
        return self.run(
            f"(e => {{ e.scrollIntoView({{block: 'nearest'}}); const b = e.getBoundingClientRect();"
            " return [b.left + b.width / 2, b.top + b.height / 2]; })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def click(self, selector):
        self.drag(self.place(selector))

    def drag(self, start, end=None, modifiers=0):
        """Press the mouse button at one place, let go at another."""
        for kind, (x, y) in (
            ("mouseMoved", start),
            ("mousePressed", start),
            *((("mouseMoved", end),) if end else ()),
            ("mouseReleased", end or start),
        ):
            self.ask(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="none" if kind == "mouseMoved" and not end else "left",
                buttons=1,
                clickCount=1,
                modifiers=modifiers,
            )

    def press(self, key):
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, text=text if kind == "keyDown" else ""
            )

    def save_screenshot(self, path, *, whole=False):
        found = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def complaints(self):
        """Errors and warnings of the page since it was opened."""
        said = []
        for event in self._browser.events:
            if event.get("sessionId") != self._session:
                continue
            kind, facts = event["method"], event["params"]
            if kind == "Runtime.exceptionThrown":
                said.append(facts["exceptionDetails"])
            elif kind == "Log.entryAdded" and facts["entry"]["level"] in ("warning", "error"):
                said.append(facts["entry"])
            elif kind == "Runtime.consoleAPICalled":
                said.append(facts["args"])
        return said

    def requests(self):
        """Addresses that the page asked for, itself left out."""
        return [
            event["params"]["request"]["url"]
            for event in self._browser.events
            if event["method"] == "Network.requestWillBeSent"
            and event["params"].get("type") != "Document"
        ]

    def close(self):
        self._browser.ask("Target.closeTarget", targetId=self._target)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("needs Chromium: neither chromium-headless-shell nor chromium is installed")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser):
    """`open_page(path, wide=…, high=…, dark=…)` opens a report and waits until it is ready."""
    pages = []

    def open_(path, **options):
        pages.append(Page(browser, path, **options))
        return pages[-1]

    yield open_
    for page in pages:
        page.close()
