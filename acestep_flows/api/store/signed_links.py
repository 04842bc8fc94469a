"""Links to files in an S3 store that work for some time, so that a download does not pass through the server.

Signing needs botocore, of the extra `s3`. It asks no server: it takes keys from the URL of the store, or else where AWS
programs find them, as pyarrow does.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from acestep_flows.errors import InputError
from acestep_flows.optional_packages import is_missing, require

LONGEST_SIGNED = 7 * 86_400
"""Seconds; S3 accepts no longer time. Where the keys themselves expire, the link does too."""


class LinkSigner:
    """Signs links to the files of one S3 store. Thread-safe.

    Args:
        place: the URL of the store.
        region: of its bucket.
    """

    def __init__(self, place: str, region: str) -> None:
        self._place, self._region = urlsplit(place), region
        self._lock = threading.Lock()
        self._client: Any = None

    def sign(self, path: str, seconds: int, headers: Mapping[str, str]) -> str | None:
        """A link to a file. None without keys.

        Args:
            path: bucket and key.
            seconds: how long it works; LONGEST_SIGNED at most.
            headers: of the answer: `ContentType`, `ContentDisposition` and the like.
        """
        from botocore.exceptions import BotoCoreError

        bucket, _, key = path.partition("/")
        asked = {"Bucket": bucket, "Key": key} | {f"Response{name}": value for name, value in headers.items()}
        try:
            with self._lock:
                client = self._client = self._client or self._open()
            link: str = client.generate_presigned_url(
                "get_object", Params=asked, ExpiresIn=min(seconds, LONGEST_SIGNED)
            )
        except BotoCoreError:  # no keys are found
            return None
        return link

    def _open(self) -> Any:
        from botocore.config import Config
        from botocore.session import get_session

        options = {name: values[0] for name, values in parse_qs(self._place.query).items()}
        endpoint, client_options = options.get("endpoint_override"), dict[str, Any]()
        if endpoint is not None:
            client_options["endpoint_url"] = (
                endpoint if "://" in endpoint else f"{options.get('scheme', 'https')}://{endpoint}"
            )
        if self._place.username and self._place.password:
            client_options["aws_access_key_id"] = unquote(self._place.username)
            client_options["aws_secret_access_key"] = unquote(self._place.password)
        style = "auto" if endpoint is None else "path"
        config = Config(signature_version="s3v4", s3={"addressing_style": style})
        return get_session().create_client("s3", region_name=self._region, config=config, **client_options)


def link_signer(files: Any, place: object) -> LinkSigner | None:
    """What signs links to the files of a store; None where it is none of S3, or the extra `s3` is missing."""
    from pyarrow import fs

    if not isinstance(files, fs.S3FileSystem) or not isinstance(place, str) or is_missing("s3"):
        return None
    return LinkSigner(place, files.region)


def check_signing(place: str | None, option: str, allowed: str) -> None:
    """Check that links to the files of a store can be signed.

    Args:
        place: the URL of the store; None is a folder.
        option: what asks for such links.
        allowed: what to give with it.

    Raises:
        InputError: it is no S3 store.
        MissingPackage: the extra `s3` is not installed.
    """
    if place is None or urlsplit(place).scheme != "s3":
        raise InputError("there is no S3 store", where=option, allowed=allowed)
    require("s3", option)
