"""The keys of rule files and of the registry as tables in Markdown, made from the models."""

from __future__ import annotations

from typing import Any, Final

from monitor.core.rule import FORMS, CaseRule, ExpectRule, RuleBase
from monitor.rulefile.schema import registry_schema, schema

_BY_PATTERN: Final = {
    "90s": "duration",
    "30m": "duration, may be negative",
    "4h": "duration, or `bd` / `cd`",
    "22:00-07:00": "hours",
    "Europe/London": "time zone",
    "95%": "share",
    "2026-12-25": "date",
}
"""Names of the texts with a form of their own, by their first example."""
_TITLES: Final = {
    "Pattern": "pattern",
    "PairPattern": "pattern",
    "Comparison": "comparison",
    "At": "at",
    "Escalation": "escalation",
    "Step": "step",
    "ReliabilityTarget": "reliability target",
    "SilenceLimit": "silence limit",
    "LocationParts": "location parts",
    "Microsystem": "microsystem",
    "Mesosystem": "mesosystem",
    "Source": "source",
    "PatientIdChoice": "patient id",
    "SilentAfter": "silent after",
    "CalendarDays": "calendar",
}


def rule_keys() -> str:
    """A table of the keys that rules share, one for each form and one for each part of a rule."""
    definitions = schema()["$defs"]
    forms = [(form, definitions[model.__name__]) for form, model in FORMS.items()]
    base, case = set(RuleBase.model_fields), set(CaseRule.model_fields)
    example = definitions[ExpectRule.__name__]
    sections = [
        f"### Every rule\n\n{_table(_only(example, base))}",
        f"### Every rule but `reliability` and `silence`\n\n{_table(_only(example, case - base))}",
    ]
    for form, made in forms:
        own = _only(made, made["properties"].keys() - case)
        sections.append(f"### `{form}`\n\n{made['description']}\n\n{_table(own)}")
    forms_made = {model.__name__ for model in FORMS.values()}
    return "\n".join([*sections, *_parts(definitions, forms_made | {"Pattern"})])


def registry_keys() -> str:
    """A table of the registry's keys, and one for each part of it."""
    whole = registry_schema()
    return keys_of(whole, "The registry", _TITLES)


def keys_of(whole: dict[str, Any], title: str, titles: dict[str, str]) -> str:
    """A table of the keys of a file by its JSON Schema, and one for each of its parts; `titles` are those of the parts."""
    return "\n".join([f"### {title}\n\n{_table(whole, titles)}", *_parts(whole["$defs"], set(), titles)])


def _only(made: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """A definition with some of its keys, in order."""
    return {**made, "properties": {key: part for key, part in made["properties"].items() if key in keys}}


def _parts(definitions: dict[str, Any], left_out: set[str], titles: dict[str, str] = _TITLES) -> list[str]:
    """A section for each definition that is not left out."""
    names = [name for name in titles if name in definitions and name not in left_out]
    return [
        f"### {titles[name].capitalize()}\n\n{definitions[name]['description']}\n\n{_table(definitions[name], titles)}"
        for name in names
    ]


def _table(made: dict[str, Any], titles: dict[str, str] = _TITLES) -> str:
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, part in made["properties"].items():
        default = "**required**" if key in made.get("required", []) else _default(part)
        meaning = part["description"].replace("\n", " ").replace("|", "\\|")
        rows.append(f"| `{key}` | {_kind(part, titles)} | {default} | {meaning} |")
    return "\n".join(rows) + "\n"


def _default(part: dict[str, Any]) -> str:
    default = part.get("default")
    if default is None or default == [] or isinstance(default, dict):
        return ""
    if isinstance(default, list):
        return f"`[{', '.join(default)}]`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _kind(part: dict[str, Any], titles: dict[str, str]) -> str:
    """A few words for what may stand under a key."""
    examples, kind = part.get("examples"), part.get("type")
    if "$ref" in part:
        return titles[part["$ref"].rsplit("/", 1)[1]]
    if "enum" in part or "const" in part:
        return ", ".join(f"`{each}`" for each in part.get("enum", [part.get("const")]))
    choices = part.get("oneOf") or part.get("anyOf") or []
    if {"type": "null"} in choices:
        return "place or list of place"
    if choices:
        return " or ".join(_kind(each, titles) for each in choices)
    if examples:
        return _BY_PATTERN[examples[0]]
    if kind == "array":
        return f"list of {_in_brackets(_kind(part['items'], titles))}"
    if kind == "object":
        return f"mapping of names to {_in_brackets(_kind(part['additionalProperties'], titles))}"
    if isinstance(kind, list):
        return "value" if "boolean" in kind else "text"
    return {"integer": "whole number", "boolean": "`true` or `false`"}.get(str(kind), "text")


def _in_brackets(kind: str) -> str:
    return f"({kind})" if " or " in kind and "`" not in kind else kind
