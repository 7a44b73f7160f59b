"""The examples of the guides are files that exist, and rules that give the verdicts shown."""

import re

import pytest
from journey import PROJECT, registry, rules, verdicts

FORMS = re.compile(r"```yaml\n(rules:\n.*?)```.*?```events\n(.*?)```.*?```verdicts\n(.*?)```", re.DOTALL)
SHOWN_FILE = re.compile(r"`([\w./-]+)`:\n\n```\w+\n(.*?)```", re.DOTALL)

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
