"""The examples of the guides are files that exist, and rules that give the verdicts shown."""

import re

import pytest
from journey import PROJECT, alerts, registry, rules, verdicts

from monitor.rulefile.load import load_registry, load_rules
from monitor.rulefile.mapping import load_mapping
from monitor.settings import load_settings

FORMS = re.compile(r"```yaml\n(rules:\n.*?)```.*?```events\n(.*?)```.*?```verdicts\n(.*?)```", re.DOTALL)
ALERTS = re.compile(
    r"```yaml\n((?:(?!```).)*)```\n\n```events\n((?:(?!```).)*)```\n\n```verdicts\n[^`]*```\n\n```alerts\n(.*?)```",
    re.DOTALL,
)
YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
SHOWN_FILE = re.compile(r"`(\w[\w./-]+)`:\n\n```\w+\n(.*?)```", re.DOTALL)

LOADERS = {
    "rules": lambda name, content: load_rules([(name, content)]),
    "separator": load_mapping,
    **dict.fromkeys(
        ("cluster", "data", "link", "mllp"), lambda name, content: load_settings(name, content, {}, {})
    ),
    "tokens": lambda *_: (None, []),  # tests/board reads them
    "route": lambda *_: (None, []),  # Alertmanager's own; tests/deploy has one like it
}
"""By the first key of a text, what reads it; any other is a registry."""
GUIDE = (PROJECT / "docs" / "guides" / "writing-rules.md").read_text(encoding="utf-8")
EXAMPLES = FORMS.findall(GUIDE)
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


@pytest.mark.parametrize(("text", "events", "expected"), EXAMPLES)
def test_each_example_of_writing_rules_gives_the_verdicts_shown(text, events, expected):
    known = registry()
    # Steps of one pathway come in the order of their case ids, so the order of lines says nothing.
    assert sorted(verdicts(rules(text, known), known, events)) == sorted(expected.strip().splitlines())


def test_writing_rules_has_an_example_of_every_form_that_opens_cases():
    forms = ["expect", "require", "forbid", "never", "stay", "count", "steps", "exclusive"]
    missing = [form for form in forms if not any(f"\n    {form}:" in text for text, _, _ in EXAMPLES)]
    assert missing == []


def test_files_shown_in_documents_are_those_that_exist():
    shown = 0
    for document in DOCUMENTS:
        for name, content in SHOWN_FILE.findall(document.read_text(encoding="utf-8")):
            shown += 1
            assert (PROJECT / name).read_text(encoding="utf-8") == content, f"{document}: {name}"
    assert shown


def test_the_ladder_in_writing_rules_is_climbed_as_shown():
    known = registry()
    [(text, events, expected)] = ALERTS.findall(GUIDE)
    assert alerts(rules(text, known), known, events) == expected.strip().splitlines()


def test_every_yaml_shown_is_without_problems():
    wrong = []
    for document in DOCUMENTS:
        for text in YAML.findall(document.read_text(encoding="utf-8")):
            name = re.search(r"^\w+(?=:)", text, re.MULTILINE)[0]
            problems = LOADERS.get(name, load_registry)(str(document), text.encode())[1]
            wrong += [f"{document.name}: {each.message}" for each in problems if each.severity == "error"]
    assert wrong == []
