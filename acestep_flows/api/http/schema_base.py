"""What request and response schemas share: the base model, ids, and JSON that the server can store."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from acestep_flows.api.http.validation_faults import refused, unknown_field
from acestep_flows.api.store.ids import id_form
from acestep_flows.audio.formats import FORMATS

MAX_DEPTH = 64
MAX_PARTS = 100_000
RUN_ID = r"^run-[0-9a-f]{26}$"
ASSET_ID = r"^[a-z]+-[0-9a-f]{26}$"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
PATTERNS = {RUN_ID: id_form("run"), ASSET_ID: id_form("asset")}
"""What texts of these patterns are, in words."""

AudioFormat = Literal["flac", "wav", "mp3", "ogg"]
assert set(AudioFormat.__args__) == set(FORMATS)  # type: ignore[attr-defined]


def check_json(content: Any) -> Any:
    """Refuse JSON that is nested too deep, too large, or has text that a database does not accept.

    Null characters and lone surrogates are valid JSON, but no database stores them.

    Raises:
        ValueError: one of these. It names the field at the top in which it is.
    """
    pending, parts = [(content, 0, "")], 0
    while pending:
        part, depth, field = pending.pop()
        parts += 1
        if depth > MAX_DEPTH or parts > MAX_PARTS:
            raise refused(f"JSON nested deeper than {MAX_DEPTH} or of more than {MAX_PARTS} parts", "", field)
        if isinstance(part, str):
            if _UNSTORABLE.search(part):
                what = "a text with a null character or an invalid Unicode character (lone surrogate)"
                raise refused(what, "", field)
        elif isinstance(part, float):
            if not math.isfinite(part):
                raise refused("NaN or infinity, which JSON does not have", "a finite number", field)
        elif isinstance(part, dict):
            for key, value in part.items():
                below = field or str(key)
                pending += [(key, depth + 1, field), (value, depth + 1, below)]
        elif isinstance(part, list):
            pending += [(item, depth + 1, field) for item in part]
    return content


Text = Annotated[str, AfterValidator(check_json)]
JsonObject = Annotated[dict[str, Any], AfterValidator(check_json)]


class Model(BaseModel):
    """Base of all schemas. Unknown fields are refused, with the nearest name."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            for name in content:
                if name not in cls.model_fields:
                    raise unknown_field(str(name), cls.model_fields)
        return content


def with_examples(*examples: dict[str, Any]) -> ConfigDict:
    """The configuration of a model that has these examples in the OpenAPI document."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": list(examples)})
