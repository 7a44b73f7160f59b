"""Names that rules and registries use, looked up in the registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from monitor.core.place import Registry
from monitor.core.text import found
from monitor.rulefile.document import Node
from monitor.rulefile.judge import closest, did_you_mean
from monitor.rulefile.problem import Problem, SourceText

_PLACES = frozenset({"from", "to", "stay", "exclusive"})
"""Keys under which places stand, wherever they are in a rule."""
_FREE = frozenset({"where", "labels", "annotations"})
"""Keys under which people choose the names."""


def check_against_registry(rule: Node, source: SourceText, registry: Registry) -> list[Problem]:
    """Places, feeds and the calendar of one rule, valid or not, that the registry does not know."""
    problems = []
    for node, text in _texts_under(rule, _PLACES):
        problem = _unknown_place(node, text, source, registry)
        if problem is not None:
            problems.append(problem)
    for node, text in _texts_under(rule, frozenset({"feeds"})):
        if text not in registry.sources:
            message = (
                f"feed {found(text)} is not among the registry's `sources`, so it never counts as silent"
            )
            hint = did_you_mean(closest(text, registry.sources))
            problems.append(
                source.problem(node.start, node.end, "unknown-source", message, hint, severity="warning")
            )
    for node, text in _texts_under(rule, frozenset({"calendar"})):
        if text not in registry.calendars:
            message = f"calendar {found(text)} is not among the registry's `calendars`"
            hint = did_you_mean(closest(text, registry.calendars))
            problems.append(source.problem(node.start, node.end, "unknown-calendar", message, hint))
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
            hint = did_you_mean(closest(node.text, _known(parents)))
            message = f"parent {found(node.text)} is not among the mesosystems"
            problems.append(
                source.problem(node.start, node.end, "unknown-parent", message, hint, severity="warning")
            )
        elif _nests_in_itself(each, parents):
            message = f"{found(each)} nests in itself"
            problems.append(source.problem(node.start, node.end, "bad-value", message))
    return problems


def _known(names: Iterable[str | None]) -> list[str]:
    return [name for name in names if name is not None]


def _nests_in_itself(each: str, parents: dict[str | None, Node]) -> bool:
    seen: set[str] = set()
    above: str | None = each
    while above is not None and above in parents and above not in seen:
        seen.add(above)
        above = parents[above].text
    return above == each


def _texts_under(node: Node, keys: frozenset[str]) -> Iterator[tuple[Node, str]]:
    """The texts under some keys, alone or in lists, wherever in a rule the keys stand."""
    for each in node.items:
        yield from _texts_under(each, keys)
    for key, entry in node.entries.items():
        if key in keys:
            yield from _texts(entry.value)
        elif key not in _FREE:
            yield from _texts_under(entry.value, keys)


def _texts(node: Node) -> Iterator[tuple[Node, str]]:
    if node.text is not None:
        yield node, node.text
    for each in node.items:
        yield from _texts(each)


def _unknown_place(node: Node, text: str, source: SourceText, registry: Registry) -> Problem | None:
    if "*" in text or not registry.microsystems or registry.microsystem(text) is not None:
        return None
    prefix, colon, name = text.partition(":")
    known = _names(prefix, registry) if colon else None
    if known is not None:
        if name in known:
            return None
        near = closest(name, known)
        message = f"no microsystem of the registry is in {found(text)}"
        hint = did_you_mean(None if near is None else f"{prefix}:{near}")
    elif registry.is_mapped(text):
        message = f"{found(text)} is a location of a microsystem, and places are compared by microsystem"
        hint = did_you_mean(registry.place(text))
    else:
        message = f"the registry has no microsystem {found(text)}"
        hint = did_you_mean(closest(text, [each.id for each in registry.microsystems]))
    return source.problem(node.start, node.end, "unknown-place", message, hint, severity="warning")


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
    return {*ids, *_known(parents)}
