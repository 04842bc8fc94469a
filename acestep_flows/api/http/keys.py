"""API keys: who may call, and how much. Only digests are kept; a key itself is seen once, when it is made.

A key file is JSON, `{"keys": [{"name": "alice", "sha256": "<hex>", "requests_per_minute": 600, "runs": 20}]}`; the
environment holds keys in the open, `alice=<key>, bob=<key> requests_per_minute=60 runs=2`. Keys are random, so a plain
sha256 of one tells nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acestep_flows import storage
from acestep_flows.api.http.limits import Bucket
from acestep_flows.errors import InputError, RateLimited, StorageError, Unauthorized
from acestep_flows.settings import API_KEY_FILE, API_KEYS, Settings

PREFIX = "af_"
SHORTEST_KEY = 16
LARGEST_FILE = 1 << 20
PRIVATE = 0o600


class Key(BaseModel):
    """One caller, known by the digest of its key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Whose key it is; owns what it makes.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of the key, in hex.")
    requests_per_minute: int = Field(600, ge=1, le=1_000_000, description="Requests, on average over a minute.")
    runs: int | None = Field(None, ge=1, le=1_000_000, description="Runs that wait or work at once; null: no limit.")


LIMITS = Key.model_fields.keys() - {"name", "sha256"}
"""Fields of a key that say how much."""


class KeyFile(BaseModel):
    """The content of a key file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...] = Field(max_length=10_000)


class Keyring:
    """The keys of a server. Without any, everybody who reaches it may call, so it must listen on loopback only."""

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        for field in ("name", "sha256"):
            values = [getattr(key, field) for key in keys]
            if twice := {value for value in values if values.count(value) > 1}:
                raise InputError(f"{field} {min(twice)} given twice", where="API keys", allowed="each once")
        self.keys = tuple(keys)
        self._buckets = {key.name: Bucket(key.requests_per_minute / 60, key.requests_per_minute) for key in keys}

    def __bool__(self) -> bool:
        return bool(self.keys)

    def admit(self, presented: str | None) -> Key | None:
        """The caller behind a key, charged for one request; None where the server has no keys.

        Raises:
            Unauthorized: no key, or an unknown one.
            RateLimited: more requests than the key allows.
        """
        if not self.keys:
            return None
        if not presented:
            raise Unauthorized("an API key is needed: Authorization: Bearer KEY")
        digest = digest_of(presented)
        # Every key is compared, each in constant time: how long it takes tells nothing about which one is near.
        matching = [key for key in self.keys if hmac.compare_digest(key.sha256, digest)]
        if not matching:
            raise Unauthorized("the API key is not one of this server's")
        if wait := self._buckets[matching[0].name].take():
            raise RateLimited(f"more than {matching[0].requests_per_minute} requests per minute", retry_after=wait)
        return matching[0]


def digest_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def new_key(name: str) -> tuple[str, Key]:
    """A fresh key for `name`: what to give away, and what to keep.

    Raises:
        InputError: not a name.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    return key, _key(name, digest_of(key), "name")


def add_key(path: Path, name: str, **limits: int | None) -> str:
    """Make a key for `name`, and append its digest to a key file, which is made if missing, for its owner's eyes only.

    Args:
        limits: fields of `Key`; None leaves one as it is by default.

    Returns:
        The key, which is kept nowhere.

    Raises:
        InputError: not a name, one that has a key already, not a limit; or the file is no key file.
        StorageError: it cannot be written.
    """
    path = path.expanduser().resolve()  # of a link, what it leads to is replaced
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock"), mode=PRIVATE):
            return _added(path, name, {field: limit for field, limit in limits.items() if limit is not None})
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_keys(settings: Settings) -> Keyring:
    """The keys that the environment and the key file name.

    Raises:
        InputError: the file or the variable is not usable; says nothing of what was in it.
    """
    keys = list(_from_environment(settings.api_keys)) if settings.api_keys else []
    if settings.api_key_file is not None:
        keys += _from_file(settings.api_key_file)
    return Keyring(keys)


def check_host(host: str, keyring: Keyring) -> None:
    """Refuse to be reachable from elsewhere without keys.

    Raises:
        InputError: `host` is not a loopback address and there are no keys.
    """
    if not keyring and not is_loopback(host):
        raise InputError(
            f"{host} without API keys",
            where="--host",
            allowed=f"127.0.0.1, or keys in {API_KEYS} or {API_KEY_FILE}",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _from_environment(text: str) -> list[Key]:
    keys = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        # Whatever stands where it should not may be a key: no error repeats it.
        (name, key), *limits = (word.partition("=")[::2] for word in re.sub(r"\s*=\s*", "=", part).split())
        if len(key) < SHORTEST_KEY:
            allowed = f"name=key pairs, keys of {SHORTEST_KEY} characters or more"
            raise InputError("not usable", where=API_KEYS, allowed=allowed)
        known = _key(name, digest_of(key), API_KEYS)
        try:
            if len(limits) != len(dict(limits)) or not dict(limits).keys() <= LIMITS:
                raise ValueError
            keys.append(Key.model_validate(known.model_dump() | {limit: int(count) for limit, count in limits}))
        except ValueError:
            raise InputError(
                f"limits of {name} are not usable",
                where=API_KEYS,
                allowed=f"{' and '.join(sorted(LIMITS))}, each with =N, from 1 to 1000000",
            ) from None
    return keys


def _key(name: str, digest: str, where: str) -> Key:
    try:
        return Key(name=name, sha256=digest)
    except ValidationError:
        raise InputError("not a name for a key", where=where, allowed="letters, digits, '.', '_' and '-'") from None


def _added(path: Path, name: str, limits: dict[str, int]) -> str:
    owner = path.stat() if path.exists() else None
    known = _from_file(path, str(path)) if owner is not None else ()
    if name in (key.name for key in known):
        raise InputError(f"{name} has a key already", where="name", allowed="a name that is not in the file")
    secret, key = new_key(name)
    try:
        keys = KeyFile(keys=(*known, Key.model_validate(key.model_dump() | limits)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(first["msg"], where=str(first["loc"][-1])) from None
    content = (keys.model_dump_json(indent=1, exclude_defaults=True) + "\n").encode()
    if len(content) > LARGEST_FILE:
        raise InputError("full", where=str(path), allowed=f"up to {LARGEST_FILE} bytes")
    storage.write(path, content, PRIVATE)
    if owner is not None and owner.st_uid != os.geteuid():
        os.chown(path, owner.st_uid, owner.st_gid)  # the server reads it as another user than its administrator
    return secret


def _from_file(path: Path, where: str = API_KEY_FILE) -> tuple[Key, ...]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise InputError("too large", where=where, allowed=f"up to {LARGEST_FILE} bytes")
        return KeyFile.model_validate(json.loads(content)).keys
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=where) from None
    except (ValueError, RecursionError):
        raise InputError("not JSON", where=where, allowed='{"keys": [{"name": ..., "sha256": ...}]}') from None
