"""What people see who open the server in a browser: no other origin is asked, no script runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acestep_flows import __version__
from acestep_flows.api.http.html import STYLE, element, joined, page
from acestep_flows.api.http.keys import Keyring, new_key
from acestep_flows.api.options import ApiOptions
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door, opened, sound

WRONG_STATUSES = {"000", "400", "405", "413", "415", "422", "500", "503", "507"}
"""Statuses of requests that are not of the right form, or not answered."""

VOID = {"meta", "link", "br", "!doctype"}


class Elements(HTMLParser):
    """Collects the elements of a page, and fails if one is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.found if name in attributes]


def browser(door: Door, path: str, **headers: str) -> httpx2.Response:
    return door.client.get(path, headers={"Accept": "text/html,application/xhtml+xml", **headers})


def test_a_program_is_told_what_this_is(door: Door) -> None:
    answer = door.client.get("/").json()
    assert (answer["name"], answer["version"]) == ("acestep_flows", __version__)
    for name in ("documentation", "openapi", "graphs", "runs", "health"):
        assert door.client.get(answer[name]).status_code == 200, name
    assert door.client.head("/").status_code == 200


def test_a_browser_is_shown_a_page_with_links(door: Door) -> None:
    response = browser(door, "/")
    assert response.headers["content-type"].startswith("text/html")
    links = Elements(response.text).values("href")
    assert {"/studio/", "/docs", "/openapi.json", "/v1/graphs", "/v1/runs", "/readyz", "/favicon.ico"} == set(links)
    for link in links:
        assert door.client.get(link).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_ask_no_other_origin_and_run_no_script(door: Door, path: str) -> None:
    response = browser(door, path)
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    elements = Elements(response.text)
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "iframe", "object", "img", "form", "base"}
    assert not any(name.startswith("on") or name == "style" for _, names in elements.found for name in names)
    for address in (*elements.values("href"), *elements.values("src")):
        assert re.match(r"[/#](?!/)", address), address
    assert STYLE in response.text
    assert not re.search(r"url\(|@import", STYLE)


def test_the_reference_has_every_operation_and_schema(door: Door) -> None:
    document = door.client.get("/openapi.json").json()
    text = browser(door, "/docs").text
    elements = Elements(text)
    ids = set(elements.values("id"))
    for methods in document["paths"].values():
        assert {operation["operationId"] for operation in methods.values()} <= ids
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= ids
    assert {link.removeprefix("#") for link in elements.values("href") if link.startswith("#")} <= ids
    assert len(text) < 400_000


def commands(text: str) -> Iterator[str]:
    from html import unescape

    for command in re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL):
        yield unescape(command)


def test_the_commands_of_the_reference_work(strict: Checkpoint, tmp_path: Path) -> None:
    """With the ids of the examples they meet a run that does not exist, and nothing worse.

    The song of the test has no recipe to read, which is answered with 422.
    """
    (tmp_path / "song.wav").write_bytes(sound(0.1))
    options = ApiOptions(render_seconds=0.1)
    with opened(tmp_path / "home", strict, options=options, executing=False) as door:
        found = list(commands(browser(door, "/docs").text))
        assert len(found) > 15
        asked = [command for command in found if "recipes:read" not in command]
        statuses = {command: answered(command, tmp_path) for command in asked}
    wrong = {command: status for command, status in statuses.items() if status in WRONG_STATUSES}
    assert not wrong
    assert sorted(statuses.values())[0] == "200"


def test_a_command_shows_events_as_they_come_and_saves_files(door: Door) -> None:
    options = {}
    for command in commands(browser(door, "/docs").text):
        words = shlex.split(command)
        if "-X" not in words and (url := next((word for word in words if word.startswith("http")), "")):
            options[url.rpartition("/")[2]] = words[1]
    assert options["events"] == "-sN"
    assert {options[name] for name in ("picture.png", "content", "take", "audio", "text2music:render")} == {"-sOJ"}
    assert {options[name] for name in ("runs", "assets", "peaks", "stats")} == {"-s"}


def answered(command: str, folder: Path) -> str:
    """The status that the server answers a command with; a command that shows events would go on after it."""
    assert "{" not in " ".join(word for word in shlex.split(command) if word.startswith("http")), command
    if "-sN" in shlex.split(command):
        words = ["bash", "-c", f"exec {command} --max-time 20 -o answer -D -"]
        with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as curl:
            assert curl.stdout is not None
            first = curl.stdout.readline()
            curl.kill()
        return first.split()[1] if first else "000"
    limited = f"{command} --max-time 20 -o answer -w '%{{http_code}}'"
    return subprocess.run(["bash", "-c", limited], cwd=folder, capture_output=True, text=True, check=False).stdout


def test_the_second_address_of_the_reference_leads_there(door: Door) -> None:
    response = door.client.get("/redoc")
    assert (response.status_code, response.headers["location"]) == (307, "/docs")


def test_pages_need_no_key(strict: Checkpoint, tmp_path: Path) -> None:
    _, key = new_key("one")
    with opened(tmp_path, strict, keys=Keyring([key]), executing=False) as door:
        assert door.client.get("/v1/graphs").status_code == 401
        for path in ("/", "/docs", "/favicon.ico", "/openapi.json"):
            assert browser(door, path).status_code == 200


def test_text_is_escaped() -> None:
    assert element("p", "<b>&", class_='"') == '<p class="&quot;">&lt;b&gt;&amp;</p>'
    assert joined("<", element("b", "x")) == "&lt;<b>x</b>"
    content: Any = page("<title>", '/"x', "body").body
    assert b"&lt;title&gt;" in content
    assert b'href="/&quot;x/favicon.ico"' in content


def test_a_host_header_cannot_write_into_the_page(strict: Checkpoint, tmp_path: Path) -> None:
    _, key = new_key("one")
    with opened(tmp_path, strict, keys=Keyring([key]), executing=False) as door:
        response = browser(door, "/docs", Host="a'<script>;x")
        assert "<script>" not in response.text
        for command in commands(response.text):
            assert shlex.split(command)[0] == "curl"
