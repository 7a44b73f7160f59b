"""JSON Schema (draft 2020-12) of rule files and of the registry, for editors.

Made from the models, and widened where an editor sees another type than the models do: an editor reads an unquoted
`2` as a number before the schema sees it, where the models take it as text.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from monitor.core.place import Registry
from monitor.core.rule import FORMS, RuleFile
from monitor.core.text import duration_text

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Final = ["string", "number"]
"""What an unquoted text may look like to an editor."""
_NAMED_VALUE: Final = ["string", "number", "boolean"]
_CITATION: Final = re.compile(r" \(contract, section[^)]*\)")
"""Where the docstring of a model has its meaning from; of no use in an editor."""
_timedelta: Final = TypeAdapter(timedelta)


def schema() -> dict[str, Any]:
    """The JSON Schema of a rule file: one branch for each form of rule."""
    whole = schema_of(RuleFile, "Rules of handoff-monitor")
    for form, model in FORMS.items():
        whole["$defs"][model.__name__]["title"] = f"{form} rule"
    return whole


def registry_schema() -> dict[str, Any]:
    """The JSON Schema of `microsystems.yaml`."""
    return schema_of(Registry, "Registry of microsystems")


def schema_of(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON Schema of a file that a model defines."""
    made: dict[str, Any] = _widened(model.model_json_schema())
    return {"$schema": _DRAFT, **made, "title": title}


def _widened(part: Any) -> Any:
    """The schema as an editor needs it: wider texts, defaults as people write them, no titles made of key names."""
    if isinstance(part, list):
        return [_widened(each) for each in part]
    if isinstance(part, str):
        return _CITATION.sub("", part)
    if not isinstance(part, dict):
        return part
    made = {
        key: _widened(value) for key, value in part.items() if key not in {"properties", "$defs", "default"}
    }
    for key in ("properties", "$defs"):  # mappings by name, in which any name may stand
        if key in part:
            made[key] = {name: _widened(value) for name, value in part[key].items()}
    if "properties" in part:
        for each in made["properties"].values():
            each.pop("title", None)
    if part.get("default") is not None:
        made["default"] = _default(part)
    if part.get("type") == "string" and not {"enum", "const", "pattern", "format", "examples"} & part.keys():
        made["type"] = _TEXT
    if part.get("additionalProperties") == {"type": "string"}:
        made["additionalProperties"] = {"type": _NAMED_VALUE}
    return made


def _default(part: dict[str, Any]) -> Any:
    """A default, durations as in a rule file and not as ISO 8601 has them."""
    is_duration = "pattern" in part and isinstance(part["default"], str)
    return duration_text(_timedelta.validate_python(part["default"])) if is_duration else part["default"]
