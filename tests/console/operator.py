"""A person who operates the console in a browser."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from browser import DESKTOP, PHONE
from stage import KEYS, Stage

WAIT = 15_000
"""Milliseconds for which a browser waits for something on a page."""
EXPECTED = re.compile("Failed to load resource|Response Status Error Code")
"""What the browser and htmx say of every response that is an error. Tests look at those themselves."""

expect.set_options(timeout=WAIT)


@dataclass
class Operator:
    """A browser window. `errors` is what the browser complained of, such as a violated content security policy."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    @classmethod
    def visit(
        cls, browser: Browser, url: str, *, client: str | None = "ops", dark: bool = False, phone: bool = False
    ) -> "Operator":
        """Opens a window; with `client`, signs in with its key."""
        context = browser.new_context(
            **(PHONE if phone else DESKTOP),
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            timezone_id="Europe/Berlin",
            locale="en-GB",
        )
        context.set_default_timeout(WAIT)
        operator = cls(context.new_page(), url.rstrip("/"))
        operator.page.on("pageerror", lambda error: operator.errors.append(str(error)))
        operator.page.on("console", operator._hear)
        if client:
            operator.sign_in(key_of(client))
        return operator

    def sign_in(self, key: str) -> None:
        """Signs in with a key, wherever the window is."""
        if "/console/sign-in" not in self.page.url:
            self.open("")
        self.page.fill("#key", key)
        self.page.click("main button")
        self.page.wait_for_selector(".who")

    def open(self, path: str) -> None:
        """Opens a page of the console by the rest of its path, such as `/requests`."""
        self.page.goto(f"{self.url}/console{path}")

    def text(self) -> str:
        """Returns the visible text of the page's content, as it is at this moment: the page may still be arriving."""
        return self.page.inner_text("main")

    def expect_text(self, words: str) -> None:
        """Expects these words in the visible text of the page's content, as soon as it has arrived."""
        expect(self.page.locator("main")).to_contain_text(words, use_inner_text=True)

    def press_in_dialog(self, name: str, **fields: str) -> None:
        """Fills the open dialog's fields, by the names of the fields, and presses its button with this name."""
        dialog = self.page.locator("dialog[open]")
        for field_name, value in fields.items():
            dialog.locator(f"[name={field_name}]").fill(value)
        dialog.get_by_role("button", name=name, exact=True).click()

    def assert_accessible(self) -> None:
        """Asserts that axe finds nothing wrong on the page."""
        found = Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()

    def assert_nothing_sticks_out(self) -> None:
        """Asserts that the page does not scroll sideways, as on a phone it must not."""
        assert self.pixels_too_wide() <= 0, f"{self.pixels_too_wide()} pixels too wide"

    def pixels_too_wide(self) -> int:
        """Returns how far the page could be scrolled sideways."""
        width = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(width))

    def at_night_on_a_phone(self) -> None:
        """Makes the window as narrow as a phone, and dark."""
        self.page.set_viewport_size(PHONE["viewport"])
        self.page.emulate_media(color_scheme="dark")

    def snap(self, name: str, **options: Any) -> None:
        """Keeps what the operator sees, where SCREENSHOTS says."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True, **options)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not EXPECTED.search(message.text):
            self.errors.append(f"{message.text} {message.location.get('url', '')}")


def key_of(client: str) -> str:
    """Returns the key of a client; tests give one that is not on every stage the key `key-of-NAME`."""
    return KEYS.get(client, f"key-of-{client}")


@contextmanager
def signed_in(stage: Stage, client: str = "ops") -> Iterator[httpx.Client]:
    """Yields an HTTP client with a session, for what needs no browser."""
    with httpx.Client(base_url=str(stage.api.base_url), timeout=30, verify=False) as console:
        answer = console.post("/console/sign-in", data={"key": key_of(client)})
        assert answer.status_code == 303, answer.text
        yield console


def csrf_of(console: httpx.Client) -> str:
    """Returns the token that the forms of this session carry."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', console.get("/console/keys").text)
    assert found
    return found[1]
