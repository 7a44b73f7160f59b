"""The reference page says what is so: its tables are the models', its examples load, its codes are the codes."""

import os
import re
from pathlib import Path

import pytest

from monitor.core.rule import FORMS
from monitor.rulefile import as_text, load_registry, load_rules
from monitor.rulefile.reference import registry_keys, rule_keys

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "rules.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
CODE = re.compile(r'"([a-z]+(?:-[a-z]+)+)"')


def section(name: str, page: str) -> re.Match[str]:
    found = re.search(rf"(<!-- {name}:.*?-->\n)(.*?)(<!-- end -->)", page, re.DOTALL)
    assert found is not None
    return found


@pytest.mark.parametrize(("name", "keys"), [("rule keys", rule_keys()), ("registry keys", registry_keys())])
def test_the_tables_of_keys_are_those_of_the_models(name: str, keys: str) -> None:
    page = PAGE.read_text()
    found = section(name, page)
    if os.environ.get("UPDATE"):
        PAGE.write_text(page[: found.start(2)] + f"\n{keys}\n" + page[found.end(2) :])
        return
    assert found[2] == f"\n{keys}\n"


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_load_without_a_problem(example: str) -> None:
    if "rules:" in example:
        _, problems = load_rules([("rules.md", example.encode())])
    else:
        _, problems = load_registry("rules.md", example.encode())
    assert [as_text(problem) for problem in problems] == []


def test_the_examples_have_every_form() -> None:
    rules = [rule for example in EXAMPLES for rule in load_rules([("rules.md", example.encode())])[0]]
    assert {type(rule) for rule in rules} == set(FORMS.values())


def test_the_page_names_every_code() -> None:
    package = Path(__file__).parents[2] / "monitor" / "rulefile"
    codes = {code for path in package.glob("*.py") for code in CODE.findall(path.read_text())}
    codes -= {"utf-8-sig"}
    named = set(re.findall(r"`([a-z-]+)`", PAGE.read_text().partition("## Problems")[2]))
    assert codes - named == set()
