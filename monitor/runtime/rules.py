"""The rules and the registry that the settings name, as one state of their files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from importlib import metadata
from io import BytesIO

from monitor.core.place import Registry
from monitor.ingest.files import PACK, Unreadable, rule_files, whole
from monitor.log import get_logger
from monitor.metrics import Metrics
from monitor.report.rules import places_text, registry_places
from monitor.rulefile.load import load_registry, load_rules
from monitor.rulefile.problem import Problem, in_order
from monitor.runtime.live import Loaded

_NOTHING = BytesIO()  # a service reads no rules from its standard input
_log = get_logger("rules")


def load(paths: Sequence[str], microsystems: str | None) -> tuple[Loaded | None, list[Problem]]:
    """The rules (files, directories, `pack:NAME`) and the registry as they are on disk now, and all that is wrong with them.

    None with an error: what is in use stays in use. Warnings come beside what was loaded. Reads files; never raises.
    """
    registry, registry_bytes, problems = _registry(microsystems)
    files, wrong = _files(paths)
    problems += wrong
    rules, wrong = load_rules(files, registry if microsystems is not None else None)
    problems += wrong
    if microsystems is None and (places := registry_places(rules)):
        message = f"no registry is named (`microsystems`): {places_text(places)} match nothing"
        problems.append(_problem("rules", "no-registry", message, severity="warning"))
    if registry is None or any(each.severity == "error" for each in problems):
        return None, in_order(problems)
    return Loaded(rules, registry, _digest([registry_bytes, *(content for _, content in files)])), in_order(
        problems
    )


async def load_again(
    paths: Sequence[str], microsystems: str | None, warnings: dict[str, str], metrics: Metrics
) -> Loaded | None:
    """The same for a service at work. None with an error: the old ones stay in use, and the service says so, until all is in order."""
    loaded, wrong = await asyncio.to_thread(load, paths, microsystems)
    tell(wrong)
    if loaded is None:
        first = next(each for each in wrong if each.severity == "error")
        warnings["rules"] = f"the old rules are in use: {first.file}:{first.line}: {first.message}"
        metrics.rules_refused.set(1)
        metrics.rule_reloads.of("refused").inc()
        _log.error("rules_refused", file=first.file, line=first.line, count=len(wrong))
        return None
    if warnings.pop("rules", None) is not None:
        _log.info("rules_in_order", rules=len(loaded.rules))
    metrics.rules_refused.set(0)
    return loaded


def tell(wrong: Sequence[Problem]) -> None:
    """Write down what is wrong with rules or registry."""
    for each in wrong:
        _log.warning(
            "rules_problem",
            file=each.file,
            line=each.line,
            column=each.column,
            code=each.code,
            why=each.message,
        )


def watched(paths: Sequence[str], microsystems: str | None) -> list[str]:
    """Of what the settings name, the files and directories that may change."""
    return [*(path for path in paths if not path.startswith(PACK)), *([microsystems] if microsystems else [])]


def _registry(path: str | None) -> tuple[Registry | None, bytes, list[Problem]]:
    if path is None:
        return Registry(), b"", []
    try:
        content = whole(path, _NOTHING)
    except Unreadable as unreadable:
        return None, b"", [_problem(path, "unreadable", f"cannot be read: {unreadable.why}")]
    registry, problems = load_registry(path, content)
    return registry, content, problems


def _files(paths: Sequence[str]) -> tuple[list[tuple[str, bytes]], list[Problem]]:
    """The files that the paths name. A directory without any is an error: it may just not be mounted yet."""
    files: list[tuple[str, bytes]] = []
    problems = []
    for path in paths:
        try:
            of_path = rule_files([path], _NOTHING)
        except Unreadable as unreadable:
            problems.append(_problem(unreadable.file, "unreadable", f"cannot be read: {unreadable.why}"))
            continue
        if not of_path:
            problems.append(_problem(path, "no-rule-files", "there are no rule files in this directory"))
        files += of_path
    return files, problems


def _problem(file: str, code: str, message: str, severity: str = "error") -> Problem:
    return Problem(
        file=file,
        line=1,
        column=1,
        end_column=2,
        severity="warning" if severity == "warning" else "error",
        code=code,
        message=message,
        hint=None,
        excerpt=None,
    )


def _digest(contents: Sequence[bytes]) -> str:
    """Differs when what the rules mean may differ: their files do, or the program that reads them."""
    digest = sha256(metadata.version("handoff-monitor").encode())
    for content in contents:
        digest.update(sha256(content).digest())
    return digest.hexdigest()
