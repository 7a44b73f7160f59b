"""`handoff check`: what is wrong with files that people write, each told by what it is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, Literal

from monitor.commands.loading import rule_files_of
from monitor.commands.streams import FINE, PROBLEMS, Streams
from monitor.core.place import Registry
from monitor.ingest.files import REGISTRY_FILE, whole
from monitor.report.names import counted
from monitor.rulefile.document import read_mapping
from monitor.rulefile.load import load_registry, load_rules
from monitor.rulefile.problem import Problem, as_github, as_json, as_text

Kind = Literal["rules", "registry", "settings", "tokens"]
_BY_NAME: Final[dict[str, Kind]] = {
    REGISTRY_FILE: "registry",
    "handoff.yaml": "settings",
    "tokens.yaml": "tokens",
}
_OF_SETTINGS: Final = frozenset(
    {
        "data",
        "mllp",
        "http",
        "follow",
        "kafka",
        "cluster",
        "sinks",
        "receivers",
        "link",
        "horizon",
        "log_level",
    }
)
"""Keys that only settings have."""
_SHOW: Final = {"text": as_text, "json": as_json, "github": as_github}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said after `handoff check`."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="rule files, directories of them or pack:NAME; a registry, settings, a tokens file",
    )
    parser.add_argument(
        "--microsystems", metavar="FILE", help="look up the places that rules name in this registry"
    )
    parser.add_argument("--format", choices=sorted(_SHOW), default="text")


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Show all problems of all files. A warning about settings is advice, with which the service starts: it fails nothing."""
    kinds = {path: _kind(path) for path in args.paths}
    of = {kind: [path for path in kinds if kinds[path] == kind] for kind in set(kinds.values())}
    files = rule_files_of(of.get("rules", []), streams)
    problems: list[Problem] = []
    registry: Registry | None = None
    for name in dict.fromkeys([*of.get("registry", []), *([args.microsystems] if args.microsystems else [])]):
        registry, wrong = load_registry(name, whole(name, streams.stdin))
        problems += wrong
    rules, wrong = load_rules(files, registry if args.microsystems else None)
    problems += wrong
    has_failed = bool(problems)
    for path in [*of.get("settings", []), *of.get("tokens", [])]:
        wrong = _problems_of(path, kinds[path], whole(path, streams.stdin))
        problems += wrong
        has_failed |= any(each.severity == "error" for each in wrong)
    streams.print_all(_SHOW[args.format](problem) + "\n" for problem in problems)
    if not problems and args.format == "text":
        checked = len(files) + len(kinds) - len(of.get("rules", []))
        streams.print(f"{counted(checked, 'file')}, {counted(len(rules), 'rule')}: no problems\n")
    return PROBLEMS if has_failed else FINE


def _kind(path: str) -> Kind:
    """What a path holds, by its name, else by the keys of the file. What is in a directory is rules."""
    if Path(path).name in _BY_NAME:
        return _BY_NAME[Path(path).name]
    try:
        _, root, _ = read_mapping(path, Path(path).read_bytes())
    except (OSError, ValueError):
        return "rules"  # a directory, a pack, standard input; or it is told that it cannot be read
    keys = root.entries.keys() if root is not None else set()
    if "tokens" in keys:
        return "tokens"
    return "rules" if _OF_SETTINGS.isdisjoint(keys) else "settings"


def _problems_of(path: str, kind: Kind, content: bytes) -> list[Problem]:
    if kind == "tokens":
        from monitor.board.auth import problems_of  # noqa: PLC0415 - with FastAPI, which nothing else here needs

        return problems_of(path, content)
    from monitor.settings import load_settings  # noqa: PLC0415 - likewise

    return load_settings(path, content, {}, {})[1]
