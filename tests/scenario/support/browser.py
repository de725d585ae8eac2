"""Headless Chromium, driven by WebDriver."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from .proxy import ROOT
from .wire import wait_until

AXE_LOCK = Path(__file__).resolve().parents[1] / "axe"
AXE = ROOT / "build" / "node-axe"
DRIVER = "/usr/bin/chromedriver"
WIDE, PHONE = (1280, 900), (360, 740)


class Browser:
    """One window with nothing stored in it."""

    def __init__(self):
        options = webdriver.ChromeOptions()
        words = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-extensions"]
        for word in words + (["--no-sandbox"] if os.geteuid() == 0 else []):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))

    def quit(self):
        self.driver.quit()

    def shape(self, size=WIDE, dark=False):
        width, height = size
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE})
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, url):
        self.driver.get(url)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def press_tab(self):
        self.driver.switch_to.active_element.send_keys(Keys.TAB)

    def press_enter(self):
        self.driver.switch_to.active_element.send_keys(Keys.ENTER)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent", selector)

    def wait_text(self, selector, wanted):
        """Until the element's text has `wanted` in it."""
        try:
            return wait_until(lambda: wanted in (self.text(selector) or ""), f"{selector} to say {wanted!r}")
        except AssertionError as problem:
            raise AssertionError(f"{problem}; it says {self.text(selector)!r}; console: {self.console()}") from None

    def console(self):
        """What was written to the console since the last call: errors and warnings."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def note(self):
        """The requests that went out since the last call: [(URL, status on the wire)]."""
        urls, statuses = {}, {}
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            parameters = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                urls[parameters["requestId"]] = parameters["request"]["url"]
            elif message["method"] == "Network.responseReceivedExtraInfo":
                statuses[parameters["requestId"]] = parameters["statusCode"]
        return [(url, statuses.get(identity)) for identity, url in urls.items()]

    def complaints(self):
        """What axe has to say of the page: WCAG 2 A and AA, and good practice."""
        self.run(install_axe().read_text(encoding="utf-8"))
        found = self.driver.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then(arguments[arguments.length - 1])")
        return [f"{rule['id']}: {node['html']} {node['failureSummary']}" for rule in found["violations"] for node in rule["nodes"]]


def install_axe():
    """axe-core as npm installs it from the lock file, once."""
    stamp = AXE / "installed-lock.json"
    lock = (AXE_LOCK / "package-lock.json").read_bytes()
    if not (stamp.exists() and stamp.read_bytes() == lock):
        AXE.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(AXE_LOCK / name, AXE)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=AXE, check=True, timeout=300, capture_output=True)
        stamp.write_bytes(lock)
    return AXE / "node_modules" / "axe-core" / "axe.min.js"
