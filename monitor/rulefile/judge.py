"""A node judged by a model: the models' errors as problems at the nodes that they concern."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from monitor.core.rule import FORMS
from monitor.core.text import DurationError, found
from monitor.rulefile.document import Node, plain
from monitor.rulefile.problem import Problem, SourceText

M = TypeVar("M", bound=BaseModel)
Path = tuple[str | int, ...]

_TAG = re.compile(r"\|\w+\|")
"""What unions put into the path of an error to name a branch; no key of a file looks like it."""
_ENOUGH: Final = 12
"""So many allowed keys or fewer are listed in a hint."""


def judge(model: type[M], node: Node, source: SourceText) -> tuple[M | None, list[Problem]]:
    """The node's values as a model, or all that is wrong with them."""
    try:
        return model.model_validate(plain(node)), []
    except ValidationError as error:
        return None, _Judgement(model, node, source).problems(error.errors(include_url=False))


def closest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant."""
    near = get_close_matches(word, list(words), n=1, cutoff=0.65)
    return near[0] if near else None


def did_you_mean(word: str | None) -> str | None:
    """The hint that names a word."""
    return None if word is None else f"did you mean `{word}`?"


def is_tag(step: str | int) -> bool:
    """Whether a step of an error's path is in no file, but names the branch of a union."""
    return isinstance(step, str) and _TAG.fullmatch(step) is not None


def node_at(node: Node, path: Iterable[str | int]) -> Node:
    """The node to which an error's path leads, as far as it leads; tags of unions are not in the file."""
    for step in path:
        if is_tag(step):
            continue
        if isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        elif step in node.entries:
            node = node.under(str(step))
        else:
            break
    return node


class _Judgement:
    """One model against one node."""

    def __init__(self, model: type[BaseModel], node: Node, source: SourceText) -> None:
        self._model = model
        self._node = node
        self._source = source

    def problems(self, errors: list[ErrorDetails]) -> list[Problem]:
        missing = [error["loc"] for error in errors if error["type"] == "missing"]
        unknown = [error["loc"] for error in errors if error["type"] == "extra_forbidden"]
        problems = [self._unknown_key(path, missing) for path in unknown]
        for error in errors:
            if error["type"] == "complaints":
                problems += [
                    self._complaint(error["loc"] + path, text) for path, text in error["ctx"]["complaints"]
                ]
            elif error["type"] not in {"missing", "extra_forbidden"}:
                problems.append(self._bad_value(error))
        return problems + [self._missing_key(path) for path in missing]

    def _unknown_key(self, path: Path, missing: list[Path]) -> Problem:
        """A key that the model does not have; one that is missing beside it is taken as meant."""
        name, above = str(path[-1]), path[:-1]
        key = node_at(self._node, above).entries[name].key
        meant = closest(name, [str(each[-1]) for each in missing if each[:-1] == above])
        if meant is not None:
            missing.remove((*above, meant))
            return self._problem(key, "unknown-key", f"unknown key `{name}`", did_you_mean(meant))
        form = next((form for form, rule in FORMS.items() if rule is self._model), None)
        others = [other for other, rule in FORMS.items() if name in _keys(rule)]
        if form is not None and not above and others:
            message = f"{form} rules have no key `{name}`"
            return self._problem(key, "unknown-key", message, f"forms that have it: {', '.join(others)}")
        allowed = keys_at(self._model, above)
        return self._problem(key, "unknown-key", f"unknown key `{name}`", _hint_of_keys(name, allowed))

    def _missing_key(self, path: Path) -> Problem:
        parent = node_at(self._node, path[:-1])
        return self._problem(parent, "missing-key", f"missing key `{path[-1]}`", None)

    def _complaint(self, path: Path, message: str) -> Problem:
        return self._problem(node_at(self._node, path), "bad-value", message, None)

    def _bad_value(self, error: ErrorDetails) -> Problem:
        node = node_at(self._node, error["loc"])
        cause = error.get("ctx", {}).get("error")
        code = "bad-duration" if isinstance(cause, DurationError) else "bad-value"
        return self._problem(node, code, _message(error), _hint(error))

    def _problem(self, node: Node, code: str, message: str, hint: str | None) -> Problem:
        return self._source.problem(node.start, node.end, code, message, hint)


def _hint_of_keys(name: str, allowed: list[str]) -> str | None:
    meant = closest(name, allowed)
    if meant is not None:
        return did_you_mean(meant)
    return f"allowed here: {', '.join(allowed)}" if 0 < len(allowed) <= _ENOUGH else None


@cache
def _keys(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items())


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that a mapping may have at a place of a file, as the model's JSON Schema has them."""
    schema = _schema(model)
    here = _branches(schema, schema)
    for step in path:
        if is_tag(step):  # of branches told apart by a key, the one that is meant
            here = [one for one in here if str(step)[1:-1] in one.get("properties", {})] or here
        else:
            here = [each for one in here for each in _branches(_below(one, step), schema)]
    return list(dict.fromkeys(key for one in here for key in one.get("properties", {})))


def _below(schema: dict[str, Any], step: str | int) -> dict[str, Any]:
    below = schema.get("items") if isinstance(step, int) else schema.get("properties", {}).get(step)
    other = schema.get("additionalProperties")
    below = other if below is None and isinstance(step, str) else below
    return below if isinstance(below, dict) else {}


def _branches(schema: dict[str, Any], whole: dict[str, Any]) -> list[dict[str, Any]]:
    """The schema without references and choices."""
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    choices = schema.get("anyOf") or schema.get("oneOf")
    return [each for one in choices for each in _branches(one, whole)] if choices else [schema]


_EXPECTED: Final = {
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
}


def _message(error: ErrorDetails) -> str:
    """What is wrong, what was found, what is allowed; pydantic's own words only where there are no better ones."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}; found {found(value)}"
    match kind:
        case "literal_error":
            return f"expected {context['expected'].replace(chr(39), '`')}; found {found(value)}"
        case "value_error":
            return str(context["error"])
        case "wrong_shape":
            return f"{error['msg']}; found {found(value)}"
        case "string_too_short":
            return "must not be empty"
        case "too_short":
            return f"expected at least {context['min_length']} in the list; found {context['actual_length']}"
        case "too_long":
            return f"expected at most {context['max_length']} in the list; found {len(value)}"
        case "less_than_equal":
            return f"must be at most {context['le']}; found {found(value)}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}; found {found(value)}"
    return error["msg"][:1].lower() + error["msg"][1:]


def _hint(error: ErrorDetails) -> str | None:
    value, context = error["input"], error.get("ctx", {})
    if not isinstance(value, str):
        return None
    if error["type"] == "literal_error":
        return did_you_mean(closest(value.lower(), re.findall(r"'([^']*)'", context["expected"])))
    if error["type"] == "list_type":
        return f"write [{value}]"
    if error["type"] == "int_parsing" and error["loc"][-1] == "at_most":
        return "the time in which events are counted is `within`"
    if isinstance(context.get("error"), DurationError):
        meant = _probable_duration(value)
        return did_you_mean(meant) if meant != value else None
    return None


_WRITTEN_OUT = re.compile(r"([0-9]{1,9}) ?(s|m|h|d|w)(?:ec|econd|in|inute|r|our|ay|eek)?s?", re.IGNORECASE)
_CLOCK = re.compile(r"([0-9]{1,3}):([0-5][0-9])")


def _probable_duration(text: str) -> str | None:
    """What `45min`, `4 hours` or `1:30` was probably meant to be."""
    words = _WRITTEN_OUT.fullmatch(text)
    if words:
        return f"{words[1]}{words[2].lower()}"
    clock = _CLOCK.fullmatch(text)
    return f"{int(clock[1])}h{int(clock[2])}m" if clock else None
