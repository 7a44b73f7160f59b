"""Files to rules and a registry, or to all that is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from monitor.core.place import Registry
from monitor.core.rule import FORMS, Rule, RuleBase
from monitor.core.text import Model, found
from monitor.rulefile.document import Node, read_mapping
from monitor.rulefile.judge import closest, did_you_mean, judge
from monitor.rulefile.problem import Problem, SourceText, in_order
from monitor.rulefile.references import check_against_registry, check_nesting, check_silences

RESERVED: Final = "feed"
"""The id under which the alert of a silent source goes."""
_MEASURED: Final = ("expect", "require", "forbid", "stay", "steps")
"""The forms of which a reliability is reckoned (contract, section 7)."""
_OF_REGISTRY: Final = frozenset(Registry.model_fields)
_COMMON: Final = frozenset(RuleBase.model_fields)
_FORM_KEYS: Final = {
    field.alias or name for model in FORMS.values() for name, field in model.model_fields.items()
} - _COMMON


class _Top(Model):
    """The outermost mapping of a rule file; its rules are judged one by one."""

    rules: list[Any]
    """The rules."""


class _Written(msgspec.Struct):
    """One rule as it was written, valid or not."""

    source: SourceText
    node: Node
    form: str | None = None
    rule: Rule | None = None

    @property
    def id(self) -> str | None:
        return self.node.under("id").text


def load_rules(
    files: Sequence[tuple[str, bytes]], registry: Registry | None = None
) -> tuple[list[Rule], list[Problem]]:
    """The rules of some files (name and content), in order, and all that is wrong with them, sorted.

    With a registry the places, sources and calendars that rules name are looked up in it. Rules are returned
    even beside errors: those that are valid by themselves. Never raises.
    """
    packs, problems = load_packs(files, registry)
    return [rule for _, rules in packs for rule in rules], problems


def load_packs(
    files: Sequence[tuple[str, bytes]], registry: Registry | None = None
) -> tuple[list[tuple[str, list[Rule]]], list[Problem]]:
    """As `load_rules`, with the rules of each file beside its name."""
    packs: list[tuple[str, list[_Written]]] = []
    problems: list[Problem] = []
    for name, content in files:
        found_here, wrong = _rules_of_file(name, content)
        packs.append((name, found_here))
        problems += wrong
    written = [each for _, of_file in packs for each in of_file]
    problems += _check_ids(written)
    problems += _check_reliability(written)
    if registry is not None:
        for each in written:
            problems += check_against_registry(each.node, each.source, registry)
    rules = [(name, [each.rule for each in of_file if each.rule is not None]) for name, of_file in packs]
    return rules, in_order(problems)


def load_registry(name: str, content: bytes) -> tuple[Registry | None, list[Problem]]:
    """The registry of a file (`microsystems.yaml`), and what is wrong with it, sorted. None with an error. Never raises."""
    source, root, problems = read_mapping(name, content)
    if root is None:
        return None, in_order(problems)
    registry, wrong = judge(Registry, root, source)
    problems = [*problems, *wrong, *check_nesting(root, source)]
    if registry is not None:
        problems += check_silences(root, source, registry)
    failed = any(each.severity == "error" for each in problems)
    return (None if failed else registry), in_order(problems)


def _rules_of_file(name: str, content: bytes) -> tuple[list[_Written], list[Problem]]:
    source, root, problems = read_mapping(name, content)
    if root is None:
        return [], problems
    if "rules" not in root.entries and not _OF_REGISTRY.isdisjoint(root.entries):
        hint = "a registry is named with `--microsystems`"
        message = "this looks like a registry, not like rules"
        return [], [*problems, source.problem(root.start, root.end, "not-rules", message, hint)]
    _, wrong = judge(_Top, root, source)
    problems = [*problems, *wrong]
    written = []
    for node in root.under("rules").items:
        each = _Written(source, node)
        problems += _judge_rule(each)
        written.append(each)
    return written, problems


def _judge_rule(written: _Written) -> list[Problem]:
    """Fills in the rule's form and, if it is valid, the rule; returns what is wrong with it."""
    source, node = written.source, written.node
    if not isinstance(node.value, dict):
        message = f"expected a rule, which is a mapping; found {found(node.value)}"
        return [source.problem(node.start, node.end, "bad-value", message)]
    forms = [key for key in node.value if key in FORMS]
    if len(forms) == 1:
        written.form = forms[0]
        rule, problems = judge(FORMS[forms[0]], node, source)
        written.rule = cast("Rule | None", rule)
        return problems
    if len(forms) > 1:
        return [_several_forms(written, forms), *_judge_common(node, source)]
    return _judge_formless(written)


def _judge_formless(written: _Written) -> list[Problem]:
    """What is wrong with a rule without a form; one whose key is nearly a form is judged as if it had been written."""
    source, node = written.source, written.node
    near = {key: closest(key, FORMS) for key in node.entries if key not in _COMMON | _FORM_KEYS}
    meant = {key: form for key, form in near.items() if form is not None}
    if len(meant) != 1:
        message = f"the rule has no form: it needs one of {', '.join(FORMS)}"
        return [source.problem(node.start, node.end, "no-form", message), *_judge_common(node, source)]
    ((key, form),) = meant.items()
    misspelt = node.entries[key].key
    message = f"unknown key `{key}`"
    problem = source.problem(misspelt.start, misspelt.end, "unknown-key", message, did_you_mean(form))
    repaired = {form if name == key else name: entry for name, entry in node.entries.items()}
    written.form = form
    return [problem, *judge(FORMS[form], msgspec.structs.replace(node, value=repaired), source)[1]]


def _several_forms(written: _Written, forms: list[str]) -> Problem:
    key = written.node.entries[forms[1]].key
    message = f"a rule has one form; found {' and '.join(f'`{form}`' for form in forms)}"
    return written.source.problem(key.start, key.end, "several-forms", message, "write a rule for each")


def _judge_common(node: Node, source: SourceText) -> list[Problem]:
    """What is wrong with the keys of a rule whose form is not known."""
    common = {key: entry for key, entry in node.entries.items() if key not in _FORM_KEYS}
    return judge(RuleBase, msgspec.structs.replace(node, value=common), source)[1]


def _check_ids(written: list[_Written]) -> list[Problem]:
    """Ids are unique across all files; of several rules with one id the first stands."""
    problems = []
    first: dict[str, _Written] = {}
    for each in written:
        if each.id is None:
            continue
        node = each.node.under("id")
        if each.id == RESERVED:
            each.rule = None
            message = f"`{RESERVED}` is the name of the monitor's own alerts of silent sources"
            problems.append(each.source.problem(node.start, node.end, "reserved-id", message))
        elif each.id in first:
            each.rule = None
            message = f"another rule has the id {found(each.id)}"
            hint = f"the first is at {_place_of_id(first[each.id])}"
            problems.append(each.source.problem(node.start, node.end, "duplicate-id", message, hint))
        else:
            first[each.id] = each
    return problems


def _place_of_id(written: _Written) -> str:
    line, column = written.source.position(written.node.under("id").start)
    return f"{written.source.name}:{line}:{column}"


def _check_reliability(written: list[_Written]) -> list[Problem]:
    """A reliability is of rules that are loaded, and of forms whose cases can be met."""
    forms = {each.id: each.form for each in written if each.id is not None}
    problems = []
    for each in written:
        for node in each.node.under("reliability").under("of").items:
            name = node.text
            if name is None:
                continue
            if name not in forms:
                hint = did_you_mean(closest(name, forms))
                message = f"no rule has the id {found(name)}"
                problems.append(each.source.problem(node.start, node.end, "unknown-rule", message, hint))
            elif forms[name] is not None and forms[name] not in _MEASURED:
                message = f"rule {found(name)} is of the form {forms[name]}; a reliability is of {', '.join(_MEASURED)}"
                problems.append(each.source.problem(node.start, node.end, "wrong-form", message))
    return problems
