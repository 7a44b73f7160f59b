"""Pairs of files: err/x.yaml with what is said of it in err/x.out (UPDATE=1 rewrites), and ok/y.yaml, which are silent."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from monitor.core.place import Registry
from monitor.core.rule import FORMS
from monitor.rulefile import Problem, as_text, document, load_registry, load_rules
from monitor.rulefile.document import Node, read

HERE = Path(__file__).parent
ERR = sorted((HERE / "err").glob("*.yaml"))
OK = sorted((HERE / "ok").glob("*.yaml"))


def hospital() -> Registry:
    registry, problems = load_registry("hospital.yaml", (HERE / "hospital.yaml").read_bytes())
    assert registry is not None
    assert problems == []
    return registry


def problems_of(path: Path) -> list[Problem]:
    if path.stem.startswith("registry"):
        return load_registry(path.name, path.read_bytes())[1]
    registry = hospital() if path.stem.startswith("with-registry") else None
    return load_rules([(path.name, path.read_bytes())], registry)[1]


@pytest.mark.parametrize("path", ERR, ids=lambda path: path.stem)
def test_everything_wrong_with_a_file_is_said_in_one_run(path: Path) -> None:
    problems = problems_of(path)
    said = "".join(as_text(problem) + "\n" for problem in problems)
    expected = path.with_suffix(".out")
    if os.environ.get("UPDATE"):
        expected.write_text(said)
    assert said == expected.read_text()
    assert problems


@pytest.mark.parametrize("path", OK, ids=lambda path: path.stem)
def test_a_valid_file_is_silent(path: Path) -> None:
    _, problems = load_rules([(path.name, path.read_bytes())])
    assert [as_text(problem) for problem in problems] == []


def test_valid_rules_agree_with_a_registry_that_knows_their_names() -> None:
    path = HERE / "ok" / "every-form.yaml"
    rules, problems = load_rules([(path.name, path.read_bytes())], hospital())
    assert problems == []
    assert len(rules) == 13


def keys_of(node: Node) -> Iterator[str]:
    for each in node.items:
        yield from keys_of(each)
    for key, entry in node.entries.items():
        yield key
        yield from keys_of(entry.value)


def test_the_valid_file_has_every_key_of_every_form() -> None:
    _, root, _ = read("x", (HERE / "ok" / "every-form.yaml").read_bytes())
    assert root is not None
    used: dict[str, set[str]] = {form: set() for form in FORMS}
    for rule in root.under("rules").items:
        (form,) = set(rule.entries) & set(FORMS)
        used[form] |= set(rule.entries)
    everywhere = set(keys_of(root))
    for form, model in FORMS.items():
        keys = {field.alias or name for name, field in model.model_fields.items()}
        assert keys <= everywhere
        special = keys - {"feeds", "same", "active", "calendar", "grace", "show_for", "escalate"}
        assert {key for key in special if key not in FORMS["never"].model_fields} <= used[form]


def test_every_code_has_a_file_that_shows_it() -> None:
    shown = {problem.code for path in ERR for problem in problems_of(path)}
    assert shown == {
        "bad-alias",
        "bad-duration",
        "bad-encoding",
        "bad-key",
        "bad-value",
        "duplicate-id",
        "duplicate-key",
        "empty-file",
        "merge-key",
        "missing-key",
        "no-form",
        "not-a-mapping",
        "not-rules",
        "not-yaml",
        "reserved-id",
        "several-documents",
        "several-forms",
        "short-silence",
        "too-deep",
        "too-many-aliases",
        "unknown-calendar",
        "unknown-key",
        "unknown-parent",
        "unknown-place",
        "unknown-rule",
        "unknown-source",
        "wrong-form",
        "yaml-syntax",
        "yaml-tag",
    }


@pytest.mark.parametrize("path", [*ERR, *OK], ids=lambda path: path.stem)
def test_the_parser_without_libyaml_says_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the words of syntax errors are the parser's own."""
    expected = problems_of(path)
    monkeypatch.setattr(document, "_Loader", yaml.SafeLoader)
    found = problems_of(path)
    if all(problem.code != "yaml-syntax" for problem in expected):
        assert found == expected
    else:
        assert [problem.code for problem in found] == [problem.code for problem in expected]
