"""Names that rules and registries use, looked up in the registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final, Literal, NamedTuple

from monitor.core.feed import SHORT
from monitor.core.place import Registry
from monitor.core.text import found
from monitor.rulefile.document import Node
from monitor.rulefile.judge import closest, did_you_mean
from monitor.rulefile.problem import Problem, SourceText

_NAMING: Final = frozenset({"from", "to", "stay", "exclusive", "feeds", "calendar"})
"""Keys under which names of the registry stand, wherever they are in a rule: places but for the last two."""
_FREE: Final = frozenset({"where", "labels", "annotations"})
"""Keys under which people choose the names."""


def check_against_registry(rule: Node, source: SourceText, registry: Registry) -> list[Problem]:
    """Places, feeds and the calendar of one rule, valid or not, that the registry does not know."""
    problems = []
    for key, node, text, is_spare in _names_in(rule):
        unknown = _unknown(key, text, registry)
        if unknown is not None and not (is_spare and ":" in text and unknown.hint is None):
            code, message, hint, severity = unknown
            problems.append(source.problem(node.start, node.end, code, message, hint, severity=severity))
    return problems


def check_nesting(root: Node, source: SourceText) -> list[Problem]:
    """Parents in a registry's file that it does not list, and microsystems that nest in themselves."""
    nested = [*root.under("microsystems").items, *root.under("mesosystems").items]
    parents = {each.under("id").text: each.under("parent") for each in nested}
    problems = []
    for each, node in parents.items():
        if each is None or node.text is None:
            continue
        if node.text not in parents:
            hint = did_you_mean(closest(node.text, _given(parents)))
            message = f"parent {found(node.text)} is not among the mesosystems"
            problems.append(
                source.problem(node.start, node.end, "unknown-parent", message, hint, severity="warning")
            )
        elif _nests_in_itself(each, parents):
            message = f"{found(each)} nests in itself"
            problems.append(source.problem(node.start, node.end, "bad-value", message))
    return problems


def check_silences(root: Node, source: SourceText, registry: Registry) -> list[Problem]:
    """Limits of silence that are shorter than the gaps that a service remembers (docs/reference/decisions.md, 46)."""
    problems = []
    for name, profile in registry.sources.items():
        written, limits = root.under("sources").under(name).under("silent_after"), profile.silent_after
        each = (
            [(written, limits)]
            if isinstance(limits, timedelta)
            else [
                (node.under("after"), limit.after)
                for node, limit in zip(written.items, limits or [], strict=True)
            ]
        )
        for node, limit in each:
            if limit < SHORT:
                message = f"{found(node.text)} is shorter than 30s: a service that was restarted does not know of gaps so short"
                problems.append(
                    source.problem(
                        node.start,
                        node.end,
                        "short-silence",
                        message,
                        "write 30s or more",
                        severity="warning",
                    )
                )
    return problems


def _given(names: Iterable[str | None]) -> list[str]:
    return [name for name in names if name is not None]


def _nests_in_itself(each: str, parents: dict[str | None, Node]) -> bool:
    seen: set[str] = set()
    above: str | None = each
    while above is not None and above in parents and above not in seen:
        seen.add(above)
        above = parents[above].text
    return above == each


class _Unknown(NamedTuple):
    """What is wrong with a name."""

    code: str
    message: str
    hint: str | None
    severity: Literal["error", "warning"] = "warning"


def _names_in(node: Node, *, is_denied: bool = False) -> Iterator[tuple[str, Node, str, bool]]:
    """Key, node and text of every name that the registry should know, wherever in a rule it stands.

    Last, whether the rule can do without: it is one of several, or what must not be. Rules that are shared say
    `kind:stroke` so, and a hospital need not have a stroke unit.
    """
    for each in node.items:
        yield from _names_in(each, is_denied=is_denied)
    for key, entry in node.entries.items():
        if key in _NAMING:
            is_spare = is_denied or len(entry.value.items) > 1
            yield from ((key, each, text, is_spare) for each, text in _texts(entry.value))
        elif key not in _FREE:
            yield from _names_in(entry.value, is_denied=is_denied or key == "not")


def _texts(node: Node) -> Iterator[tuple[Node, str]]:
    if node.text is not None:
        yield node, node.text
    for each in node.items:
        yield from _texts(each)


def _unknown(key: str, text: str, registry: Registry) -> _Unknown | None:
    if key == "feeds":
        return _unknown_feed(text, registry)
    return _unknown_calendar(text, registry) if key == "calendar" else _unknown_place(text, registry)


def _unknown_feed(text: str, registry: Registry) -> _Unknown | None:
    if text in registry.sources:
        return None
    message = f"feed {found(text)} is not among the registry's `sources`, so it never counts as silent"
    return _Unknown("unknown-source", message, did_you_mean(closest(text, registry.sources)))


def _unknown_calendar(text: str, registry: Registry) -> _Unknown | None:
    if text in registry.calendars:
        return None
    message = f"calendar {found(text)} is not among the registry's `calendars`"
    return _Unknown("unknown-calendar", message, did_you_mean(closest(text, registry.calendars)), "error")


def _unknown_place(text: str, registry: Registry) -> _Unknown | None:
    if "*" in text or not registry.microsystems or registry.microsystem(text) is not None:
        return None
    prefix, colon, name = text.partition(":")
    known = _names(prefix, registry) if colon else None
    if known is not None:
        if name in known:
            return None
        near = closest(name, known)
        hint = did_you_mean(None if near is None else f"{prefix}:{near}")
        return _Unknown("unknown-place", f"no microsystem of the registry is in {found(text)}", hint)
    if registry.is_mapped(text):
        message = f"{found(text)} is a location of a microsystem, and places are compared by microsystem"
        return _Unknown("unknown-place", message, did_you_mean(registry.place(text)))
    hint = did_you_mean(closest(text, [each.id for each in registry.microsystems]))
    return _Unknown("unknown-place", f"the registry has no microsystem {found(text)}", hint)


def _names(prefix: str, registry: Registry) -> set[str] | None:
    """What may stand after `kind:`, `tag:` or `meso:`; None for any other prefix."""
    microsystems = registry.microsystems
    match prefix:
        case "kind":
            return {each.kind for each in microsystems if each.kind is not None}
        case "tag":
            return {tag for each in microsystems for tag in each.tags}
        case "meso":
            return _nests(registry)
    return None


def _nests(registry: Registry) -> set[str]:
    """What others may nest in: all ids, and the parents that are named."""
    ids = [each.id for each in registry.microsystems] + [each.id for each in registry.mesosystems]
    parents = [each.parent for each in registry.microsystems] + [each.parent for each in registry.mesosystems]
    return {*ids, *_given(parents)}
