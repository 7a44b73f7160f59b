"""The JSON Schema, judged as editors judge: on what plain YAML makes of a file."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from monitor.core.rule import FORMS
from monitor.rulefile import registry_schema, schema

HERE = Path(__file__).parent
RULES = Draft202012Validator(schema())
REGISTRY = Draft202012Validator(registry_schema())
OK = sorted((HERE / "ok").glob("*.yaml"))
STRUCTURAL = [
    "bad-duration",
    "bad-value",
    "forms",
    "just-text",
    "missing-key",
    "missing-rules",
    "not-a-mapping",
    "registry",
    "rules-empty",
    "rules-mapping",
    "unknown-key",
]
"""Files of err/ in which something has the wrong shape, and not only the wrong meaning."""


class Editor(yaml.SafeLoader):
    """What editors see: YAML's types, but no dates."""


Editor.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def seen(path: Path) -> Any:
    return yaml.load(path.read_bytes(), Editor)


def validator(path: Path) -> Draft202012Validator:
    return REGISTRY if path.stem in {"registry", "hospital"} else RULES


@pytest.mark.parametrize("made", [schema(), registry_schema()], ids=["rules", "registry"])
def test_the_schema_is_valid(made: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", [*OK, HERE / "hospital.yaml"], ids=lambda path: path.stem)
def test_valid_files_please_an_editor(path: Path) -> None:
    assert [error.message for error in validator(path).iter_errors(seen(path))] == []


@pytest.mark.parametrize("name", STRUCTURAL)
def test_structural_errors_show_in_an_editor(name: str) -> None:
    path = HERE / "err" / f"{name}.yaml"
    assert not validator(path).is_valid(seen(path))


def broken_rules() -> list[Any]:
    names = ("bad-duration", "bad-value", "unknown-key")
    return [
        pytest.param(rule, id=f"{name}-{number}")
        for name in names
        for number, rule in enumerate(seen(HERE / "err" / f"{name}.yaml")["rules"])
    ]


@pytest.mark.parametrize("rule", broken_rules())
def test_each_misshapen_rule_shows_in_an_editor(rule: Any) -> None:
    assert not RULES.is_valid({"rules": [rule]})


def described(part: Any) -> list[dict[str, Any]]:
    """All schemas of keys, wherever they are."""
    if isinstance(part, list):
        return [each for one in part for each in described(one)]
    if not isinstance(part, dict):
        return []
    here = list(part.get("properties", {}).values())
    return here + [each for value in part.values() for each in described(value)]


@pytest.mark.parametrize("made", [schema(), registry_schema()], ids=["rules", "registry"])
def test_every_key_is_described(made: dict[str, Any]) -> None:
    assert [each for each in described(made) if not each.get("description")] == []
    for model in made["$defs"].values():
        assert model["description"]
        assert model["additionalProperties"] is False


def test_each_form_is_a_branch_with_its_name() -> None:
    made = schema()
    branches = [each["$ref"].rsplit("/", 1)[1] for each in made["properties"]["rules"]["items"]["oneOf"]]
    assert [made["$defs"][name]["title"] for name in branches] == [f"{form} rule" for form in FORMS]
    assert all(form in made["$defs"][name]["required"] for name, form in zip(branches, FORMS, strict=True))


def test_defaults_are_written_as_in_a_rule_file() -> None:
    properties = schema()["$defs"]["ExpectRule"]["properties"]
    assert properties["give_up"]["default"] == "24h"
    assert properties["not_before"]["default"] == "0s"
    assert properties["overlap"]["default"] == "each"
    assert "default" not in properties["grace"]
