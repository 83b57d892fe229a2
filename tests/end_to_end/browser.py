"""Headless Chromium over chromedriver, in the plain HTTP of WebDriver: opens pages, runs scripts, reads their logs."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request


def available():
    """What is missing, or an empty text."""
    if not shutil.which("chromedriver"):
        return "chromedriver"
    return "" if shutil.which("chromium") or shutil.which("google-chrome") else "chromium"


class Browser:
    def __init__(self, base):
        self.base = base
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
        ]
        binary = shutil.which("chromium") or shutil.which("google-chrome")
        wanted = {
            "goog:chromeOptions": {"args": arguments, "binary": binary},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base += f"/session/{made['sessionId']}"

    def ask(self, method, path, body=None):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode(errors="replace")[:2000]) from None

    def devtools(self, command, **parameters):
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url, scheme="light", width=1280, height=900, media="screen"):
        """`scheme` is what the system is said to prefer."""
        self.devtools(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        self.ask("POST", "/url", {"url": url})

    def script(self, text, *arguments):
        return self.ask("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def log(self, kind):
        """New entries of "browser" (console) or "performance" (DevTools' events)."""
        return self.ask("POST", "/se/log", {"type": kind})


@contextlib.contextmanager
def browser():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}"
    made = None
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(base + "/status", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        made = Browser(base)
        yield made
    finally:
        if made:
            with contextlib.suppress(OSError, RuntimeError):
                made.ask("DELETE", "")
        driver.terminate()
        driver.wait(30)
