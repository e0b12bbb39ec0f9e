"""A person at a browser: Chromium, driven by Playwright, in front of a real Odoo."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, sync_playwright

WAIT = 120_000
"""Milliseconds. The first page of a new Odoo takes long: the bundles are built."""
DESKTOP: dict[str, Any] = {"viewport": {"width": 1400, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--ignore-certificate-errors",  # for shared workers, too, which an option of Playwright's does not reach
)  # fmt: skip
PICTURE = ".o_aigen_picture.o_aigen_loaded"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium: the one that CHROMIUM names, or the machine's own."""
    path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(path).exists():
        pytest.skip(f"there is no Chromium at {path}; CHROMIUM says where one is")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@dataclass
class Person:
    """Somebody who works in Odoo; `errors` is what the browser complained of meanwhile."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    @classmethod
    def log_in(cls, browser: Browser, url: str, login: str, *, dark: bool = False, **device: Any) -> "Person":
        """A person whose password is the login."""
        context = browser.new_context(**(device or DESKTOP), reduced_motion="reduce")
        context.set_default_timeout(WAIT)
        context.add_cookies([{"name": "color_scheme", "value": "dark" if dark else "light", "url": url}])
        person = cls(context.new_page(), url)
        person._listen()
        person.page.goto(f"{url}/web/login")
        person.page.fill("#login", login)
        person.page.fill("#password", login)
        person.page.press("#password", "Enter")  # a website has more buttons on this page
        person.page.wait_for_selector(".o_main_navbar")
        return person

    def new_tab(self) -> "Person":
        """The same person in another tab, which complains of errors in the same place."""
        tab = Person(self.page.context.new_page(), self.url, self.errors)
        tab._listen()
        return tab

    def _listen(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._hear)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def open(self, path: str, until: str) -> None:
        """Go to a page of the web client and wait for what is on it."""
        self.page.goto(f"{self.url}/odoo/{path}")
        self.page.wait_for_selector(until)

    def wish(self, prompt: str, shape: str = "Square (1:1)") -> None:
        """Open a new request and say what it should show. `shape` is a label; without one, the shape stays as it is."""
        self.open("ai-images/new", "[name=prompt] textarea")
        self.page.fill("[name=prompt] textarea", prompt)
        if shape:
            self._choose_shape(shape)

    def _choose_shape(self, label: str) -> None:
        """Odoo 18 has a select element, 19 a menu of its own."""
        if self.page.locator("[name=shape] select").count():
            self.page.select_option("[name=shape] select", label=label)
        else:
            self.page.click("[name=shape] input")
            self.page.locator(".o_select_menu_item").get_by_text(label, exact=True).click()

    def generate(self) -> None:
        """Press the button and wait until the form says that it is under way, or how it has ended already."""
        self.page.locator("button[name=action_generate]").click()
        self.page.wait_for_selector(".o_aigen_steps, .o_aigen_picture, .o_aigen_words[role=status]")

    def menu(self, name: str) -> Locator:
        """The button of the form's header, which a phone keeps behind the gear (Odoo 18) or behind "More" (19)."""
        button = self.page.locator(f"button[name={name}]")
        if not button.is_visible():
            more = self.page.locator(".o_statusbar_buttons button[title=More]")
            (more if more.count() else self.page.locator(".o_cp_action_menus button")).first.click()
        return button

    def seconds_until(self, selector: str) -> float:
        """How long it takes until this is on the page."""
        started = time.monotonic()
        self.page.wait_for_selector(selector)
        return time.monotonic() - started

    def snap(self, name: str) -> None:
        """Keep what the person sees, where SCREENSHOTS says."""
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            self.page.mouse.move(5, 400)
            self.page.wait_for_function("() => [...document.images].slice(0, 12).every((image) => image.complete)")
            self.page.wait_for_timeout(700)  # tooltips go, fonts and fades settle
            self.page.screenshot(path=Path(folder) / f"{name}.png")
