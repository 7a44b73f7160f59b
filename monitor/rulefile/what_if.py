"""Rules with a key changed, for a replay that asks `what if`; the files stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from monitor.core.rule import Rule
from monitor.core.text import Plain
from monitor.rulefile.judge import closest, did_you_mean


def with_changes(rules: Sequence[Rule], changes: Iterable[str]) -> list[Rule]:
    """The rules after changes such as `ed-boarding.within=5h`, each of one key that takes a single value.

    Raises `ValueError` with what is wrong with the first change that cannot be made.
    """
    by_id = {rule.id: rule for rule in rules}
    for change in changes:
        name, is_change, value = change.partition("=")
        rule_id, _, key = name.rpartition(".")
        if not is_change or not rule_id:
            raise ValueError(f"`{change}` is no change: write RULE.KEY=VALUE")
        if rule_id not in by_id:
            raise ValueError(_unknown(f"there is no rule `{rule_id}`", rule_id, by_id))
        by_id[rule_id] = _changed(by_id[rule_id], key, value)
    return [by_id[rule.id] for rule in rules]


def _changed(rule: Rule, key: str, value: str) -> Rule:
    keys = [name for name in type(rule).model_fields if name != "id"]
    if key not in keys:
        raise ValueError(_unknown(f"rule `{rule.id}` has no key `{key}` that could be changed", key, keys))
    copy = rule.model_copy()
    try:
        type(rule).__pydantic_validator__.validate_assignment(copy, key, Plain(value))
    except ValidationError as error:
        why = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{rule.id}.{key}: {why}") from error
    return copy


def _unknown(text: str, word: str, words: Iterable[str]) -> str:
    hint = did_you_mean(closest(word, words))
    return text if hint is None else f"{text}; {hint}"
