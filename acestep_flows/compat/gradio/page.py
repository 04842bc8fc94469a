"""What a Gradio client asks a page first: its configuration, and its functions with their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_flows.compat.gradio.functions import FUNCTIONS, Function

API = "/gradio_api"
VERSION, PROTOCOL = "5.27.0", "sse_v3"

_FILE = {
    "title": "FileData",
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "url": {"type": ["string", "null"]},
        "orig_name": {"type": ["string", "null"]},
        "meta": {"type": "object"},
    },
}
_KINDS: Mapping[str, tuple[str, Any, str]] = {
    "audio": ("audio", _FILE, "filepath"),
    "json": ("json", {"type": {}}, "dict(str, Any)"),
    "bool": ("checkbox", {"type": "boolean"}, "bool"),
    "number": ("number", {"type": "number"}, "float"),
    "text": ("textbox", {"type": "string"}, "str"),
}
"""Kinds of values: the component, the type in JSON, the type in Python."""

OUTPUTS = {"audio": "audio", "parameters": "json"}
"""What every function returns, by label."""


def config(most_bytes: int) -> dict[str, Any]:
    """The configuration of the page.

    Args:
        most_bytes: the largest file that may be uploaded.
    """
    components: list[dict[str, Any]] = []
    dependencies = []
    for index, function in enumerate(FUNCTIONS):
        inputs = [_component(components, name, _kind(name, value)) for name, value in function.parameters.items()]
        outputs = [_component(components, label, kind) for label, kind in OUTPUTS.items()]
        dependencies.append(_dependency(index, function, inputs, outputs))
    return {
        "version": VERSION,
        "protocol": PROTOCOL,
        "api_prefix": API,
        "title": "acestep_flows",
        "mode": "blocks",
        "components": components,
        "dependencies": dependencies,
        "is_space": False,
        "connect_heartbeat": False,
        "max_file_size": most_bytes,
        "enable_queue": True,
        "show_api": True,
    }


def info() -> dict[str, Any]:
    """The functions with their parameters."""
    return {"named_endpoints": {f"/{one.name}": _endpoint(one) for one in FUNCTIONS}, "unnamed_endpoints": {}}


def _kind(name: str, default: Any) -> str:
    if name in ("source_audio", "ref_audio_input"):
        return "audio"
    if name == "json_data":
        return "json"
    if isinstance(default, bool):
        return "bool"
    return "number" if isinstance(default, (int, float)) else "text"


def _component(components: list[dict[str, Any]], label: str, kind: str) -> int:
    component, schema, _ = _KINDS[kind]
    id = len(components) + 1
    components.append(
        {
            "id": id,
            "type": component,
            "props": {"label": label, "name": component},
            "skip_api": False,
            "api_info": schema,
        }
    )
    return id


def _dependency(index: int, function: Function, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {
        "id": index,
        "api_name": function.name,
        "inputs": inputs,
        "outputs": outputs,
        "api_visibility": "public",
        "show_api": True,
        "backend_fn": True,
        "queue": True,
        "targets": [],
        "cancels": [],
        "types": {"generator": False, "cancel": False},
    }


def _endpoint(function: Function) -> dict[str, Any]:
    parameters = [
        {
            **_described(name, _kind(name, default)),
            "parameter_name": name,
            "parameter_has_default": True,
            "parameter_default": default,
        }
        for name, default in function.parameters.items()
    ]
    returns = [_described(label, kind) for label, kind in OUTPUTS.items()]
    return {"parameters": parameters, "returns": returns, "show_api": True}


def _described(label: str, kind: str) -> dict[str, Any]:
    component, schema, python = _KINDS[kind]
    return {
        "label": label,
        "type": schema,
        "python_type": {"type": python, "description": ""},
        "component": component.capitalize(),
    }
