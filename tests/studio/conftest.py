"""A server for all tests of the page, and a Chromium for all of them. Each test has a context of its own.

A page that writes an error to its console, breaks its own policy, or asks another origin fails its test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.served.server import Server, cache_with, running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

playwright = pytest.importorskip("playwright.sync_api")

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
SECONDS = 30.0


@pytest.fixture(scope="package")
def cache(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cache_with(small_root, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="package")
def the_server(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    with serving(folder, cache) as server:
        yield server


@pytest.fixture
def server(the_server: Server) -> Server:
    """The running server."""
    return running(the_server)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if BROWSER is None:
        assert not os.environ.get("CI"), "continuous integration installs Chromium"
        pytest.skip("no Chromium here: install the package chromium")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=BROWSER, args=list(OPTIONS))
        yield browser
        browser.close()


def until(page: Any, condition: str) -> None:
    """Wait for JavaScript to be true. The page's policy lets Playwright's own function for that do nothing."""
    for _ in range(150):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(condition)


class Watch:
    """What a page must not do, as far as it did it. A test may allow errors that it causes, by a part of their text."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.allowed: list[str] = []

    def follow(self, page: Page, origin: str) -> None:
        page.on("console", lambda message: self._note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("request", lambda request: self._check(request.url, origin))

    def _check(self, url: str, origin: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws") and f"{parts.scheme}://{parts.netloc}" != origin:
            self._note(f"asked {url}")

    def _note(self, text: str) -> None:
        if not any(part in text for part in self.allowed):
            self.faults.append(text)


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    assert watch.faults == []


@pytest.fixture
def opened(browser: Browser, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Opens the page of a server: `opened(server, "#/take/RUN?tab=repaint", locale="de", width=390)`."""
    contexts: list[BrowserContext] = []

    def open_page(server: Server, place: str = "", *, width: int = 1440, **options: Any) -> Page:
        size = {"width": width, "height": 900}
        settings: dict[str, Any] = {"locale": "en-GB", "viewport": size, "reduced_motion": "reduce", **options}
        context = browser.new_context(**settings)
        context.set_default_timeout(SECONDS * 1000)
        contexts.append(context)
        page = context.new_page()
        watch.follow(page, server.url)
        page.goto(f"{server.url}/studio/{place}")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(opened: Callable[..., Page], server: Server) -> Page:
    return opened(server)
