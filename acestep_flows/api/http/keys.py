"""API keys: who may call, and how often. A key file holds digests only; a key is shown once, when it is made.

A key file is JSON: `{"keys": [{"name": "alice", "sha256": "<hex>", "requests_per_minute": 600, "runs": 20}]}`. The
environment variable holds plain keys: `alice=<key>, bob=<key> requests_per_minute=60 runs=2`. Keys are random, so an
unsalted sha256 is enough.
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
from typing import Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acestep_flows import storage
from acestep_flows.api.http.limits import TokenBucket
from acestep_flows.api.store.quotas import Quotas
from acestep_flows.errors import InputError, RateLimited, StorageError, Unauthorized
from acestep_flows.settings import API_KEY_FILE, API_KEYS, Settings
from acestep_flows.wording.faults import data_faults

NO_KEY = (
    "an API key is required: send the header Authorization: Bearer KEY; our clients take KEY from ACESTEP_FLOWS_API_KEY"
)
PREFIX = "af_"
SHORTEST_KEY = 16
LARGEST_FILE = 1 << 20
PRIVATE = 0o600


class Key(BaseModel):
    """One caller, identified by the digest of its key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name of the caller, the owner of its runs and assets.",
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of the key, in hex.")
    requests_per_minute: int = Field(600, ge=1, le=1_000_000, description="Requests, on average over a minute.")
    runs: int | None = Field(None, ge=1, le=1_000_000, description="Queued and running runs; null is no limit.")
    compute_seconds_per_day: int | None = Field(
        None, ge=1, le=10**9, description="Seconds of computation in a day (UTC); null is no limit."
    )
    stored_bytes: int | None = Field(
        None, ge=1, le=10**18, description="Bytes of uploads and outputs that are kept; null is no limit."
    )
    operator: bool = Field(False, description="Whether it sees the numbers of the whole server, also with other keys.")
    admin: bool = Field(
        False, description="Whether it may pause the queue, drain servers and read the audit log, and sees all numbers."
    )

    @property
    def quotas(self) -> Quotas:
        """What it may use beside requests and runs."""
        return Quotas(self.compute_seconds_per_day, self.stored_bytes)

    @property
    def public(self) -> dict[str, Any]:
        """What may be told of it: its limits, and the beginning of a digest that changes when the key does."""
        limits = self.model_dump(exclude={"name", "sha256"}, exclude_defaults=True)
        return {**limits, "version": digest_of(self.sha256)[:12]}


LIMITS = Key.model_fields.keys() - {"name", "sha256"}
"""Fields of a key that the environment variable may set, as numbers."""


class KeyFile(BaseModel):
    """The content of a key file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...] = Field(max_length=10_000)


class Keyring:
    """The keys of a server. Without keys everybody may call, so the server must listen on loopback only.

    Raises:
        InputError: two keys share a name or a digest.
    """

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        for field in ("name", "sha256"):
            values = [getattr(key, field) for key in keys]
            if duplicates := {value for value in values if values.count(value) > 1}:
                raise InputError(f"{field} {min(duplicates)} given twice", where="API keys", allowed="each once")
        self.keys = tuple(keys)
        self._buckets = {key.name: TokenBucket(key.requests_per_minute / 60, key.requests_per_minute) for key in keys}

    def __bool__(self) -> bool:
        return bool(self.keys)

    @property
    def are_several(self) -> bool:
        """Whether callers share the server, so that none may learn what the others do."""
        return len(self.keys) > 1

    def admit(self, presented: str | None) -> Key | None:
        """Find the key that a caller presented, and charge it for one request; None if the server has no keys.

        Raises:
            Unauthorized: the key is missing or unknown.
            RateLimited: the key made more requests than it may.
        """
        if not self.keys:
            return None
        if not presented:
            raise Unauthorized(NO_KEY)
        digest = digest_of(presented)
        # All keys are compared in constant time, so that the duration reveals nothing about similar keys.
        matching = [key for key in self.keys if hmac.compare_digest(key.sha256, digest)]
        if not matching:
            raise Unauthorized("the API key is unknown to this server")
        return self.charge(matching[0])

    def charge(self, key: Key) -> Key:
        """Charge a key of this server for one request. Returns the key.

        Raises:
            RateLimited: the key made more requests than it may.
        """
        if wait := self._buckets[key.name].take():
            what = f"more than {key.requests_per_minute} requests per minute"
            raise RateLimited(what, retry_after=wait, limit="requests_per_minute")
        return key

    def named(self, name: str) -> Key | None:
        """The key of a name; None if this server has none."""
        return next((key for key in self.keys if key.name == name), None)


def digest_of(key: str) -> str:
    """The digest of a key: sha256 in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def new_key(name: str) -> tuple[str, Key]:
    """Make a key for `name`. Returns the plain key and its record.

    Raises:
        InputError: `name` is not usable.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    return key, _key(name, digest_of(key), "name")


def add_key(path: Path, name: str, **limits: int | None) -> str:
    """Make a key for `name` and append its digest to a key file. A missing file is created, readable by its owner only.

    Args:
        limits: limit fields of `Key`; None takes the default.

    Returns:
        The plain key. It is stored nowhere.

    Raises:
        InputError: the name is not usable or has a key already, a limit is out of range, or the file is no key file.
        StorageError: the file cannot be written.
    """
    path = path.expanduser().resolve()  # replace the target of a link, not the link
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock"), mode=PRIVATE):
            return _append_key(path, name, {field: limit for field, limit in limits.items() if limit is not None})
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_keys(settings: Settings) -> Keyring:
    """Read the keys of the environment variable and of the key file.

    Raises:
        InputError: the file or the variable is not usable. The message contains nothing of its content.
    """
    keys = list(_from_environment(settings.api_keys)) if settings.api_keys else []
    if settings.api_key_file is not None:
        keys += _from_file(settings.api_key_file)
    return Keyring(keys)


def check_host(host: str, keyring: Keyring) -> None:
    """Refuse to listen on a public address without keys.

    Raises:
        InputError: `host` is not a loopback address, and there are no keys.
    """
    if not keyring and not is_loopback(host):
        raise InputError(
            f"{host} without API keys",
            where="--host",
            allowed=f"127.0.0.1, or keys in {API_KEYS} or {API_KEY_FILE}",
        )


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _from_environment(text: str) -> list[Key]:
    keys = []
    for place, part in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        # Any misplaced word may be a key, so no error message repeats it.
        (name, key), *limits = (word.partition("=")[::2] for word in re.sub(r"\s*=\s*", "=", part).split())
        if len(key) < SHORTEST_KEY:
            what = f"its key is shorter than {SHORTEST_KEY} characters" if key else "not NAME=KEY"
            allowed = f"NAME=KEY, keys of {SHORTEST_KEY} characters or more; a comma between two, a space before limits"
            raise InputError(f"entry {place}: {what}", where=API_KEYS, allowed=allowed)
        record = _key(name, digest_of(key), API_KEYS)
        try:
            if len(limits) != len(dict(limits)) or not dict(limits).keys() <= LIMITS:
                raise ValueError
            keys.append(Key.model_validate(record.model_dump() | {limit: int(count) for limit, count in limits}))
        except ValueError:
            raise InputError(
                f"limits of {name} are not usable",
                where=API_KEYS,
                allowed="requests_per_minute and runs, each with =N, from 1 to 1000000, compute_seconds_per_day=N, "
                "stored_bytes=N, operator=1 and admin=1",
            ) from None
    return keys


def check_name(name: str, where: str) -> None:
    """Refuse what cannot be the name of a key.

    Raises:
        InputError: `name` is not usable.
    """
    _key(name, "0" * 64, where)


def _key(name: str, digest: str, where: str) -> Key:
    try:
        return Key(name=name, sha256=digest)
    except ValidationError:
        raise InputError("not a name for a key", where=where, allowed="letters, digits, '.', '_' and '-'") from None


def _append_key(path: Path, name: str, limits: dict[str, int]) -> str:
    status = path.stat() if path.exists() else None
    existing = _from_file(path, str(path)) if status is not None else ()
    if name in (key.name for key in existing):
        raise InputError(f"{name} has a key already", where="name", allowed="a name that is not in the file")
    secret, key = new_key(name)
    try:
        keys = KeyFile(keys=(*existing, Key.model_validate(key.model_dump() | limits)))
    except ValidationError as error:
        first = data_faults(error, secret=True)[0]
        raise InputError(first.what, where=first.name, allowed=first.allowed) from None
    content = (keys.model_dump_json(indent=1, exclude_defaults=True) + "\n").encode()
    if len(content) > LARGEST_FILE:
        raise InputError("the key file is full", where=str(path), allowed=f"up to {LARGEST_FILE} bytes")
    storage.write(path, content, PRIVATE)
    if status is not None and status.st_uid != os.geteuid():
        os.chown(path, status.st_uid, status.st_gid)  # the server may run as another user than its administrator
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
        first = data_faults(error, KeyFile, secret=True)[0]
        raise InputError(f"{first.where}: {first.what}", where=where, allowed=first.allowed) from None
    except (ValueError, RecursionError):
        raise InputError("not JSON", where=where, allowed='{"keys": [{"name": ..., "sha256": ...}]}') from None
