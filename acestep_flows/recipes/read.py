"""Read a recipe: from our JSON, from v1's, or from an audio file, in its tags or in a JSON file beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from acestep_flows import storage
from acestep_flows.errors import InputError
from acestep_flows.graph.records.recipe import Recipe, inputs_of, read_recipe
from acestep_flows.recipes.stored_recipe import FileInput, StoredRecipe
from acestep_flows.recipes.upstream import NO_SOURCE_TEXT, SUFFIX, is_upstream, read_upstream

LARGEST_JSON = 64_000_000
"""Bytes of a recipe in JSON."""
LARGEST_SENT = 8_000_000
"""The same from a stranger; as much as the tags of an audio file can hold."""
ALLOWED = "a recipe of acestep_flows, v1's *_input_params.json, or an audio file that acestep_flows wrote"

_TAKE = re.compile(r"-(\d{2,})$")
_AUDIO = (".wav", ".flac", ".mp3", ".ogg")


def read_recipe_file(path: Path) -> StoredRecipe:
    """The recipe in a file.

    Raises:
        InputError: the file cannot be read, or has no recipe.
    """
    return _with_source_text(_read_file(path), path.parent)


def _read_file(path: Path) -> StoredRecipe:
    found = _find_content(path)
    if not found.is_song:
        return _from_json(found.content, found.where, path.parent, _song_beside(path, found.content))
    recipe = _numbered(_from_json(found.content, found.where, path.parent, path), found.title)
    return replace(recipe, sums=_sums_beside(path, found.content)) if found.where == str(path) else recipe


@dataclass(frozen=True)
class _Found:
    """A recipe as JSON, not yet read.

    Attributes:
        where: the file that it is in.
        is_song: a song was given, not the file with JSON.
        title: of the song.
    """

    content: Any
    where: str
    is_song: bool
    title: str = ""


def _find_content(path: Path) -> _Found:
    """The JSON of the recipe in a file, in the tags of a song, or beside a song.

    Raises:
        InputError: the file cannot be read, or has no recipe. `--from` and `replay` say so in the same words.
    """
    where = str(path)
    if is_json(_first_bytes(path)):
        return _Found(_json_file(path), where, is_song=False)
    from acestep_flows.audio import tags

    try:
        found = tags.read(path)
    except InputError as error:
        raise InputError(error.what, where=error.where, allowed=ALLOWED) from None
    if found.recipe:
        return _Found(found.recipe, where, True, found.title or path.stem)
    for beside in (path.with_suffix(".json"), path.with_name(path.stem + SUFFIX)):
        if storage.is_file(beside):
            return _Found(_json_file(beside), str(beside), True, path.stem)
    raise InputError(f"no recipe in its tags, and no {path.stem}{SUFFIX} beside it", where=where, allowed=ALLOWED)


def read_recipe_alone(path: Path, name: str, check: Callable[[Any], Any]) -> StoredRecipe:
    """The recipe in a file that a stranger sent; as `read_recipe_file`, without a look at what lies beside it.

    Args:
        name: of the file, for errors.
        check: raises ValueError for JSON that is not to be read.

    Raises:
        InputError: the file is neither JSON nor audio, is refused, or has no recipe.
    """
    title = ""
    if is_json(_first_bytes(path)):
        content = _json_file(path, LARGEST_SENT)
    else:
        from acestep_flows.audio import tags

        try:
            found = tags.read(path)
        except InputError as error:
            raise InputError(error.what, where=error.where, allowed=ALLOWED) from None
        content, title = found.recipe, found.title
        if not content:
            raise InputError("no recipe in its tags", where=name, allowed=ALLOWED)
    try:
        check(content)
    except ValueError as error:
        raise InputError(str(error), where=name, allowed=ALLOWED) from None
    return _numbered(_from_json(content, name, None, None), title)


def read_own_recipe(path: Path) -> Recipe:
    """The recipe of acestep_flows in `path`, whole; it is found as by `read_recipe_file`.

    Raises:
        InputError: the file cannot be read, has no recipe, or one of ACE-Step v1.
    """
    found = _find_content(path)
    if is_upstream(found.content):
        what = "a recipe of ACE-Step v1, which does not say what its steps gave"
        raise InputError(what, where=found.where, allowed="a recipe of acestep_flows; run --from takes this one")
    return read_recipe(_checked(found.content, found.where), found.where)


def file_inputs(recipe: Recipe, folder: Path | None) -> dict[str, Any]:
    """The inputs of the run that wrote the recipe, with a `FileInput` where it read a value.

    Args:
        folder: of the recipe's own file.
    """

    def leaf(kind: str, digest: str, name: str) -> FileInput:
        return FileInput(kind, digest, _paths(recipe, digest, folder))

    return inputs_of(recipe, leaf)


def is_json(content: bytes) -> bool:
    """Whether a file that begins with `content` is JSON, not audio."""
    return content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _from_json(content: Any, where: str, folder: Path | None, song: Path | None) -> StoredRecipe:
    if is_upstream(content):
        recipe = read_upstream(content, where)
        return replace(recipe, song=song or _upstream_song(content, folder))
    own = read_recipe(_checked(content, where), where)
    fingerprint = own.outputs.get("latents")
    return StoredRecipe(
        where,
        own.graph.name,
        file_inputs(own, folder),
        digest=own.graph.digest,
        content=own.graph.content,
        seeds={name: seed for name, seed in own.seeds.items() if seed is not None},
        latents=fingerprint["value"][1] if isinstance(fingerprint, Mapping) and "value" in fingerprint else "",
        take=own.outputs["index"] if isinstance(own.outputs.get("index"), int) else None,
        song=song,
        sums=_sums(content),
        notes=own.notes,
    )


def _checked(content: Any, where: str) -> Any:
    """JSON that looks like a recipe of ours."""
    if not isinstance(content, Mapping) or "recipe" not in content:
        raise InputError("no recipe", where=where, allowed=ALLOWED)
    return content


def _paths(recipe: Recipe, digest: str, folder: Path | None) -> tuple[str, ...]:
    """Where the file of a value was: as the user gave it, from the recipe's folder, from the folder of that time."""
    given, relative = recipe.files.get(digest), recipe.sources.get(digest)
    paths = [given] if given is not None else []
    if relative is not None and folder is not None:
        paths.append(str(folder / relative))
    if given is not None and recipe.folder:
        paths.append(str(Path(recipe.folder) / given))
    return tuple(dict.fromkeys(paths))


def _sums(content: Mapping[str, Any]) -> dict[str, str]:
    sums = content.get("sha256")
    return {name: str(digest) for name, digest in sums.items()} if isinstance(sums, Mapping) else {}


def _sums_beside(path: Path, recipe: Mapping[str, Any]) -> dict[str, str]:
    """The sums in the recipe file of the same run beside an audio file; tags cannot hold a sum of their own file."""
    stems = (path.stem, _TAKE.sub("", path.stem))
    for beside in dict.fromkeys(path.with_name(f"{stem}.json") for stem in stems):
        try:
            content = _json_file(beside)
        except InputError:
            continue
        if isinstance(content, Mapping) and content.get("created") == recipe.get("created"):
            return _sums(content)
    return {}


def _song_beside(path: Path, content: Any) -> Path | None:
    """The audio file that a JSON file describes."""
    written = content.get("written") if isinstance(content, Mapping) else None
    names = [name for name in written if isinstance(name, str)] if isinstance(written, list) else []
    names += [path.name.removesuffix(SUFFIX) + suffix for suffix in _AUDIO if path.name.endswith(SUFFIX)]
    songs = [path.parent / Path(name).name for name in names if Path(name).suffix in _AUDIO]
    return next((song for song in songs if storage.is_file(song)), None)


def _upstream_song(content: Mapping[str, Any], folder: Path | None) -> Path | None:
    """The song that v1 wrote with its JSON: where that says, or beside it."""
    named = content.get("audio_path")
    if not isinstance(named, str) or not named or folder is None:
        return None
    places = (Path(named), folder / Path(named.replace("\\", "/")).name)
    return next((place for place in places if storage.is_file(place)), None)


def _with_source_text(recipe: StoredRecipe, folder: Path) -> StoredRecipe:
    """v1 does not write what a song said before an edit. Take it from what lies beside the song that was edited."""
    source = recipe.inputs.get("source")
    if "new_tags" not in recipe.inputs or "tags" in recipe.inputs or not isinstance(source, FileInput):
        return recipe
    for place in (*map(Path, source.paths), folder / source.name):
        try:
            before = _read_file(place).inputs
        except InputError:
            continue
        now = {name: before.get(f"new_{name}", before.get(name)) for name in ("tags", "lyrics")}
        text = {name: value for name, value in now.items() if isinstance(value, str)}
        warnings = tuple(warning for warning in recipe.warnings if warning != NO_SOURCE_TEXT)
        return replace(recipe, inputs={**recipe.inputs, **text}, warnings=warnings)
    return recipe


def _numbered(recipe: StoredRecipe, title: str) -> StoredRecipe:
    """The recipe with the take that the song's title numbers, unless the run itself picked one."""
    match = _TAKE.search(title)
    return recipe if recipe.take is not None or match is None else replace(recipe, take=int(match[1]) - 1)


def _first_bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a pipe may never end
            raise InputError("not a plain file", where=str(path), allowed=ALLOWED)
        with path.open("rb") as file:
            return file.read(1000)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot be read: {reason}", where=str(path), allowed=ALLOWED) from None


def _json_file(path: Path, largest: int = LARGEST_JSON) -> Any:
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot be read: {reason}", where=str(path)) from None
    if len(content) > largest:
        raise InputError("too large for a recipe", where=str(path), allowed=f"up to {largest} bytes")
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise InputError("not JSON", where=str(path), allowed="a recipe as runs write it") from None
