"""The window: its parts, languages, colours, keys; sign-in; a server that is away or asks to wait."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from acestep_flows import studio
from acestep_flows.api.http.keys import Keyring, new_key
from acestep_flows.api.options import ApiOptions
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door
from tests.api.door import opened as served

STRINGS = Path(studio.__file__).parent / "static" / "strings"
LANGUAGES = ("en", "de", "zh")


@pytest.fixture(scope="module")
def door(small: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server in this process, which starts at once."""
    with served(tmp_path_factory.mktemp("door"), small) as door:
        yield door


def test_the_page_opens_and_names_its_three_parts(page: Any) -> None:
    for name in ("Make or change a song", "The take", "Takes"):
        page.get_by_role("region", name=name, exact=True).wait_for()


def test_texts_are_complete_in_all_languages() -> None:
    texts = {each: json.loads((STRINGS / f"{each}.json").read_text(encoding="utf-8")) for each in LANGUAGES}
    for language in LANGUAGES:
        assert texts[language].keys() == texts["en"].keys()
        assert list(texts[language]) == sorted(texts[language])
        for key, text in texts[language].items():
            assert text.strip(), (language, key)
            places = re.findall(r"\{\w+\}", text)
            assert sorted(places) == sorted(re.findall(r"\{\w+\}", texts["en"][key])), (language, key)


def test_every_text_that_the_page_names_exists() -> None:
    sources = Path(__file__).parents[2] / "studio" / "src"
    known = json.loads((STRINGS / "en.json").read_text(encoding="utf-8"))
    for path in sources.rglob("*.js"):
        for key in re.findall(r"""\bt\(\s*["']([\w.-]+)["']""", path.read_text(encoding="utf-8")):
            assert key in known, f"{path.name}: {key}"


def test_language_and_colours_are_the_browsers_until_one_chooses(door: Door, opened: Callable[..., Any]) -> None:
    page = opened(door, locale="de-DE", color_scheme="dark")
    page.get_by_role("region", name="Aufnahmen", exact=True).wait_for()
    page.get_by_label("Sprache", exact=True).select_option("zh")
    page.get_by_role("region", name="作品列表", exact=True).wait_for()
    assert page.evaluate("document.documentElement.lang") == "zh"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_label("配色", exact=True).select_option("light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.goto("about:blank")
    page.goto(f"{door.url}/studio/")  # both are remembered
    page.get_by_role("region", name="作品列表", exact=True).wait_for()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    assert page.evaluate("document.documentElement.lang") == "zh"
    page.goto(f"{door.url}/studio/#/?language=de&theme=dark")
    page.reload()  # the address counts more than what is remembered, and is not remembered
    page.get_by_role("region", name="Aufnahmen", exact=True).wait_for()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    kept = page.evaluate("Object.fromEntries(Object.entries(localStorage))")
    names = {key.removeprefix("acestep-flows-studio-1/").partition("/")[0]: key for key in kept}
    assert set(names) <= {"form", "window"}
    assert json.loads(kept[names["window"]]) == {"language": "zh", "theme": "light"}


def test_the_first_screen_asks_five_times(door: Door, opened: Callable[..., Any]) -> None:
    """The page, its script, the catalog with the graph of the open tab, the stream of events, and the takes."""
    door.finished(labels={"title": "first"})  # one in hand would be asked for as it goes on
    page = opened(door)
    page.goto("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(door.url)))
    page.goto(f"{door.url}/studio/")
    page.get_by_role("textbox", name="Lyrics").wait_for()
    take(page, "first").wait_for()
    page.wait_for_timeout(500)
    assert len([url for url in asked if url.startswith("/")]) <= 5, asked


def test_the_page_comes_in_the_first_language_that_it_has(door: Door) -> None:
    wanted = {"fr-FR,de;q=0.8,en;q=0.5": "de", "zh-CN,zh;q=0.9": "zh", "fr": "en", "": "en"}
    for accepted, language in wanted.items():
        answer = door.client.get("/studio/", headers={"Accept-Language": accepted})
        assert f'<html lang="{language}">' in answer.text
        inside = answer.text.partition(f'<script id="texts" type="application/json" lang="{language}">')[2]
        texts = json.loads(inside.partition("</script>")[0])
        assert texts == json.loads((STRINGS / f"{language}.json").read_text(encoding="utf-8"))


def test_on_a_phone_one_part_is_shown_at_a_time(door: Door, opened: Callable[..., Any]) -> None:
    page = opened(door, width=390)
    parts = page.get_by_role("navigation", name="Parts of the window")
    form, tree = (page.get_by_role("region", name=name) for name in ("Make or change a song", "Takes"))
    form.wait_for()
    assert not tree.is_visible()
    parts.get_by_role("button", name="Takes").click()
    tree.wait_for()
    assert not form.is_visible()
    page.go_back()
    form.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_keys_are_listed_and_do_nothing_while_one_types(door: Door, opened: Callable[..., Any]) -> None:
    page = opened(door)
    search = page.get_by_role("searchbox")
    search.press("?")
    assert search.input_value() == "?"
    search.blur()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys of this page")
    dialog.get_by_text("Search the takes").wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def signed_in(page: Any, key: str, *, wait: bool = True) -> Any:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    if wait:
        page.get_by_role("button", name="Sign out").wait_for()
    return page


def take(page: Any, title: str) -> Any:
    """The row of a take in the tree."""
    return page.get_by_role("button", name=re.compile(f"^{title}"))


def test_behind_a_proxy_the_page_lies_under_its_prefix(
    small: Checkpoint, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    with served(tmp_path, small, options=ApiOptions(public_url="http://localhost/songs")) as door:
        door.submit(labels={"title": "proxied"})
        page = opened(door)
        page.goto("about:blank")
        requests: list[str] = []
        page.on("request", lambda request: requests.append(urlsplit(request.url).path))
        page.goto(f"{door.url}/songs/studio/")
        page.get_by_role("button", name="Star proxied").click()
        page.get_by_role("button", name="Star proxied", pressed=True).wait_for()
        page.close()
    assert requests
    assert [path for path in requests if not path.startswith("/songs/")] == []


def test_two_callers_see_nothing_of_each_other(
    small: Checkpoint, tmp_path: Path, opened: Callable[..., Any], watch: Any
) -> None:
    (alices, alice), (bobs, bob) = (new_key(name) for name in ("alice", "bob"))
    watch.allowed += ["401", "404"]
    with served(tmp_path, small, keys=Keyring([alice, bob]), headers={"X-API-Key": alices}) as door:
        pages = [signed_in(opened(door), key) for key in (alices, bobs)]
        run = door.finished(inputs={"tags": "only hers", "duration": 1, "steps": 2}, labels={"title": "secret"})
        take(pages[0], "secret").wait_for()
        pages[1].goto(f"{door.url}/studio/#/take/{run['id']}")
        pages[1].reload()
        pages[1].get_by_text("No takes yet").wait_for()
        assert take(pages[1], "secret").count() == 0
        pages[0].get_by_role("button", name="Sign out").click()
        pages[0].get_by_label("API key").wait_for()
        assert take(pages[0], "secret").count() == 0
        signed_in(pages[0], "af_wrong", wait=False)
        pages[0].get_by_role("alert").get_by_text("unknown to this server").wait_for()
        for page in pages:
            page.close()


def test_a_caller_at_its_limit_sees_the_seconds_and_is_tried_again(
    small: Checkpoint, tmp_path: Path, opened: Callable[..., Any], watch: Any
) -> None:
    secret, key = new_key("alice")
    watch.allowed += ["401", "429"]
    keys = Keyring([key.model_copy(update={"requests_per_minute": 20})])
    with served(tmp_path, small, keys=keys, headers={"X-API-Key": secret}) as door:
        run = door.submit(labels={"title": "mine"})
        page = signed_in(opened(door), secret)
        take(page, "mine").wait_for()
        while door.client.get("/v1/me").status_code == 200:
            pass
        page.get_by_role("button", name="Star mine").click()
        banner = page.get_by_role("group", name="The server asks to wait")
        banner.get_by_text("more than 20 requests per minute").wait_for()
        banner.get_by_text(re.compile(r"Trying again in \d+ s")).wait_for()
        page.get_by_role("button", name="Star mine", pressed=True).wait_for()
        banner.wait_for(state="detached")
        assert door.home.runs.get(run["id"]).labels["star"] == "1"
        page.close()
