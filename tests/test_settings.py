"""What the environment says, and what it must not say aloud."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acestep_flows.errors import InputError
from acestep_flows.settings import Settings, check_proxies, read_settings


def test_an_empty_environment_has_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert read_settings({}) == Settings(cache=Path("/home/someone/.cache/acestep-flows"))


def test_paths_are_expanded_and_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.chdir(tmp_path)
    settings = read_settings(
        {
            "ACESTEP_FLOWS_CACHE": "~/music",
            "ACESTEP_FLOWS_CHECKPOINT": "weights",
            "ACESTEP_FLOWS_LYRIC_VOCAB": "/v.json",
        }
    )
    assert settings.cache == Path("/home/someone/music")
    assert settings.results == Path("/home/someone/music/results")
    assert settings.checkpoint == tmp_path / "weights"
    assert settings.lyric_vocab == Path("/v.json")


def test_the_desktop_cache_folder_is_followed() -> None:
    assert read_settings({"XDG_CACHE_HOME": "/big/disk"}).cache == Path("/big/disk/acestep-flows")


def test_an_empty_variable_is_absent() -> None:
    assert read_settings({"ACESTEP_FLOWS_CHECKPOINT": "", "ACESTEP_FLOWS_LYRIC_VOCAB": "  "}).checkpoint is None


@pytest.mark.parametrize(("text", "products"), [("", "auto"), (" onednn ", "onednn"), ("torch", "torch")])
def test_who_multiplies_is_one_of_three(text: str, products: str) -> None:
    assert read_settings({"ACESTEP_FLOWS_PRODUCTS": text}).products == products


def test_products_by_an_unknown_library_are_refused() -> None:
    with pytest.raises(InputError, match="ACESTEP_FLOWS_PRODUCTS: no library 'mkl'.*auto, torch, onednn"):
        read_settings({"ACESTEP_FLOWS_PRODUCTS": "mkl"})


def test_the_token_is_never_shown() -> None:
    settings = read_settings({"HF_TOKEN": " hf_secret\n"})
    assert settings.hub_token == "hf_secret"
    assert "secret" not in repr(settings)
    assert "secret" not in str(settings)


def test_urls_of_stores_are_read_and_never_shown() -> None:
    urls = {"ACESTEP_FLOWS_DATABASE": " postgresql://u:secret@h/d ", "ACESTEP_FLOWS_ARTIFACTS": "s3://key:secret@b/f"}
    settings = read_settings(urls)
    assert (settings.database, settings.artifacts) == ("postgresql://u:secret@h/d", "s3://key:secret@b/f")
    assert "secret" not in repr(settings)
    assert (read_settings({}).database, read_settings({"ACESTEP_FLOWS_ARTIFACTS": " "}).artifacts) == (None, None)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ACESTEP_FLOWS_CACHE", "a\0b"), ("ACESTEP_FLOWS_CHECKPOINT", "~nobody-here/x"), ("HF_TOKEN", "two\nlines")],
)
def test_a_value_that_cannot_be_used_is_named(variable: str, value: str) -> None:
    with pytest.raises(InputError, match=variable) as caught:
        read_settings({variable: value})
    assert value not in str(caught.value) or variable != "HF_TOKEN"


def test_this_is_the_only_module_that_reads_the_environment() -> None:
    package = Path(__file__).parents[1] / "acestep_flows"
    writes = re.compile(r"os\.environ(\[[^\]]+\] = |\.setdefault\()")  # how a library's own variables are set for it
    readers = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(word in writes.sub("", path.read_text(encoding="utf-8")) for word in ("os.environ", "getenv("))
    ]
    assert readers == ["settings.py"]


@pytest.mark.parametrize(
    "proxies",
    [
        {},
        {"HTTP_PROXY": "http://proxy:3128", "https_proxy": "proxy:3128"},
        {"ALL_PROXY": ""},
        {"ALL_PROXY": "socks5://proxy:1", "NO_PROXY": "*"},
    ],
)
def test_usual_proxies_can_be_used(proxies: dict[str, str]) -> None:
    check_proxies(proxies)


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "http_proxy"])
def test_a_socks_proxy_says_what_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(InputError, match=f"{name}: a SOCKS proxy needs the package socksio"):
        check_proxies({name: "socks5h://user:secret@proxy:1080"})
    with pytest.raises(InputError, match="not a proxy") as refused:
        check_proxies({name: "gopher://user:secret@proxy"})
    assert "secret" not in str(refused.value)
