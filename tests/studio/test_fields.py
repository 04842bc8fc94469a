"""Every field of every tab: what it takes, what it hands on, and where the server's refusal of it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from acestep_flows.client import Client, Run
from tests.served.server import Server
from tests.studio.conftest import until
from tests.studio.test_forms import REFUSED, planned, unfold

TABS = ("text2music", "retake", "repaint", "edit", "extend")
LEFT_OUT = {
    "retake": {"tags", "lyrics", "duration", "seed", "steps"},
    "edit": {"guidance", "guidance_interval", "omega", "erg_tag", "erg_lyric", "erg_diffusion", "oss_steps"},
}
"""What a tab does not ask for: a retake takes all from its take, and these have no effect in an edit."""

FROM_THE_TAKE = {"source", "sound", "guide"}
SEEDS = ("retake_seed", "seed")

LONGEST = 100_000
"""Letters of lyrics. The fields take no more."""

TEXTS: Mapping[str, tuple[str, str | None]] = {
    "tags": ("x", ""),
    "new_tags": ("x", None),  # blank is as the source
    "lyrics": ("[inst]", None),
    "new_lyrics": ("y" * LONGEST, None),
    "beat": ("click", None),
}
"""A text that is taken, and one that is refused."""

FORMS: Mapping[str, tuple[Any, Any]] = {
    "span": (((0, 0.1), [0, 0.1]), (0.5, 0.55)),
    "oss_steps": (("1, 200", [1, 200]), "one"),
}
"""What fields of other kinds are filled with, what is sent for it, and what is refused."""

INVENTORY = """() => Object.fromEntries([...document.querySelectorAll(
    ".panel [id^=field-]:is(input, select, textarea), .panel input[type=radio][name^=field-]")].map((control) => {
    const name = (control.type === "radio" ? control.name : control.id).slice("field-".length);
    const radios = document.getElementsByName("field-" + name).length;
    const options = control.tagName === "SELECT" ? control.options.length : radios;
    return [name, {kind: options ? "choice" : control.classList.contains("number") ? "number" : "text", options}];
}))"""
ERRORS = """() => Object.fromEntries([...document.querySelectorAll(".panel .wrong[id]")].map((said) =>
    [said.id.replace(/^field-|-(error|note)$/g, ""), said.textContent]))"""
FILL = """values => {
    for (const [id, value] of Object.entries(values)) {
        const control = document.getElementById(id);
        control.value = value;
        for (const type of ["input", "change"]) control.dispatchEvent(new Event(type, {bubbles: true}));
    }
}"""
PICK = """choices => {
    for (const [name, at] of Object.entries(choices)) {
        const radios = document.getElementsByName("field-" + name);
        const list = document.getElementById("field-" + name);
        if (radios.length) radios[at].click();
        else if (list.value !== String(at)) {
            list.value = String(at);
            list.dispatchEvent(new Event("change", {bubbles: true}));
        }
    }
}"""


@pytest.fixture(scope="module")
def song(the_server: Server) -> Run:
    with the_server.client() as client:
        inputs = {"tags": "folk", "lyrics": "[verse]\nOne line", "duration": 2, "steps": 4, "seed": 5}
        return client.wait(client.submit("text2music", inputs).id)


class Form:
    """The open tab, with the interface of its graph."""

    def __init__(self, page: Any, properties: Mapping[str, Any]) -> None:
        self.page = page
        self.properties = properties
        unfold(page)
        shown = page.evaluate(INVENTORY)
        self.shown: dict[str, dict[str, Any]] = {name.removesuffix("-end"): about for name, about in shown.items()}

    def kind(self, name: str) -> dict[str, Any]:
        """The schema of a field where it is not null."""
        whole = self.properties[name]
        return dict(whole.get("anyOf", [whole])[0])

    def is_number(self, name: str) -> bool:
        kind = str(self.properties.get(name, {}).get("x-type")).removesuffix(" or nothing")
        return kind in ("int", "float") and "enum" not in self.kind(name)

    @property
    def numbers(self) -> dict[str, tuple[float, float]]:
        """Bounds of all numbers of the graph that are shown. Each has a field for numbers."""
        shown = {name for name, about in self.shown.items() if about["kind"] == "number"} - {"span"}
        kinds = {name: self.kind(name) for name in self.shown if self.is_number(name)}
        assert set(kinds) == shown
        return {name: (kind["minimum"], kind["maximum"]) for name, kind in kinds.items()}

    @property
    def choices(self) -> dict[str, list[Any]]:
        """What each choice may be, in the order in which it is shown; an adapter or a language by its number."""
        found = {}
        for name, about in self.shown.items():
            if about["kind"] != "choice" or name in FROM_THE_TAKE:
                continue
            kind = self.kind(name)
            values = [True, False] if kind.get("type") == "boolean" else kind.get("enum")
            none = [None] if "anyOf" in self.properties[name] else []
            found[name] = none + values if values else list(range(about["options"]))
        return found

    def fill(self, values: Mapping[str, object]) -> None:
        """Type into fields, by name."""
        flat: dict[str, object] = {}
        for name, value in values.items():
            if name == "span" and isinstance(value, tuple):
                flat |= {"field-span": value[0], "field-span-end": value[1]}
            else:
                flat["seeds" if name == "seeds" else f"field-{name}"] = value
        self.page.evaluate(FILL, {id: str(value) for id, value in flat.items()})

    def pick(self, choices: Mapping[str, int]) -> None:
        self.page.evaluate(PICK, choices)

    def errors(self) -> dict[str, str]:
        """Ask for a plan, and what is said at the fields."""
        planned(self.page)
        self.page.get_by_role("button", name="Plan", exact=True).and_(self.page.locator(":enabled")).wait_for()
        said: dict[str, str] = self.page.evaluate(ERRORS)
        return said


def open_tab(page: Any, client: Client, tab: str, take: str) -> Form:
    page.evaluate(f"location.hash = '#/take/{take}?tab={tab}'")
    page.locator(f"#tab-{tab}[aria-selected=true]").wait_for()
    page.get_by_role("textbox", name="Seeds").wait_for()
    return Form(page, client.graph(tab)["inputs"]["properties"])


def default(properties: Mapping[str, Any], name: str) -> object:
    return properties[name].get("default")


def test_every_field_of_the_five_tabs(opened: Callable[..., Any], server: Server, song: Run, watch: Any) -> None:
    """All values that a field offers are sent as they are; one step beyond is refused at the field."""
    watch.allowed.append(REFUSED)
    page = opened(server, f"#/take/{song.id}?tab=text2music")
    with server.client() as client:
        for tab in TABS:
            form = open_tab(page, client, tab, song.id)
            hidden = LEFT_OUT.get(tab, set()) | {"sound"}
            seeds = next(name for name in SEEDS if name in form.properties)
            if tab == "retake":
                assert set(form.shown) == {"variance", "take"}
                form.shown.pop("take")
            else:
                assert set(form.shown) == set(form.properties) - hidden - {seeds}, tab
            every_choice(form)
            every_bound(form, tab)
            every_text(form)
            every_seed(form, seeds)


def every_choice(form: Form) -> None:
    choices = form.choices
    for turn in range(max((len(values) for values in choices.values()), default=0)):
        at = {name: turn % len(values) for name, values in choices.items()}
        form.pick(at)
        inputs = planned(form.page)
        for name, values in choices.items():
            value = values[at[name]]
            sent = inputs.get(name, default(form.properties, name))
            if isinstance(value, int) and not isinstance(value, bool):  # a name that the server knows
                assert (sent is None) == (value == 0), name
            else:
                assert sent == value, name
    form.pick(dict.fromkeys(choices, 0))


def every_bound(form: Form, tab: str) -> None:
    bounds = form.numbers
    for side, beyond in ((0, -1), (1, 1)):
        values = {name: pair[side] for name, pair in bounds.items()}
        if tab == "extend":  # nothing to add, and more than four minutes, are refused
            values |= {"left": 0, "right": 1} if side == 0 else {"left": 100, "right": 100}
        form.fill(values)
        inputs = planned(form.page)
        assert form.errors() == {}, tab
        sent = {name: inputs.get(name, default(form.properties, name)) for name in bounds}
        assert sent == values
        form.fill({name: pair[side] + beyond for name, pair in bounds.items()})
        said = form.errors()
        assert set(said) == set(bounds), tab
        assert all("(allowed: " in text for text in said.values())
    form.fill({name: pair[0] for name, pair in bounds.items()} | ({"right": 1} if tab == "extend" else {}))
    form.fill({name: 200 for name in bounds if name == "steps"})


def every_text(form: Form) -> None:
    texts = {name: pair for name, pair in TEXTS.items() if name in form.shown}
    others = {name: pair for name, pair in FORMS.items() if name in form.shown}
    typed: dict[str, Any] = {name: good for name, (good, _) in texts.items()}
    form.fill(typed | {name: good for name, ((good, _), _) in others.items()})
    inputs = planned(form.page)
    assert form.errors() == {}
    sent = typed | {name: sent for name, ((_, sent), _) in others.items()}
    assert {name: inputs[name] for name in sent} == sent
    for name in {"lyrics", "new_lyrics"} & set(texts):
        assert form.page.locator(f"#field-{name}").get_attribute("maxlength") == str(LONGEST)
    wrong = {name: bad for name, (_, bad) in texts.items() if bad is not None}
    wrong |= {name: bad for name, (_, bad) in others.items()}
    for name, bad in wrong.items():
        form.fill({name: bad})
        assert set(form.errors()) == {name}
        good = (texts | others)[name][0]
        form.fill({name: good if name in texts else good[0]})


def every_seed(form: Form, name: str) -> None:
    for value in (0, 2**32 - 1):
        form.fill({"seeds": value})
        assert planned(form.page)[name] == value
        assert form.errors() == {}
    for refused in (-1, 2**32, "seven"):
        form.fill({"seeds": refused})
        assert set(form.errors()) == {"seeds"}
    form.fill({"seeds": 1})


def test_numbers_of_every_other_graph_are_refused_beyond_their_bounds(
    opened: Callable[..., Any], server: Server, song: Run, watch: Any
) -> None:
    """Under More each graph has a form by itself: all its inputs are there, and refusals stand at their fields."""
    watch.allowed.append(REFUSED)
    page = opened(server, f"#/take/{song.id}?tab=more")
    page.locator("#graph option").nth(3).wait_for(state="attached")
    names = page.locator("#graph option").evaluate_all("all => all.map((each) => each.value).filter(Boolean)")
    assert len(names) > 8
    with server.client() as client:
        for name in names:
            page.get_by_label("Graph", exact=True).select_option(name)
            until(page, f"document.getElementById('graph').value === '{name}' && !!document.querySelector('.foot')")
            form = Form(page, client.graph(name)["inputs"]["properties"])
            bounds = form.numbers
            form.fill({field: pair[1] + 1 for field, pair in bounds.items()})
            said = form.errors()
            assert set(bounds) <= set(said), name
