"""A peer over a log, and whether its verdicts are ours, case by case."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from bench.measure import Taken, timed
from bench.replay import count_of, events_of, replayed, ten_rules, verdicts


def with_ours(path: str, peer: str, ours: str) -> Taken:
    """What a peer took, how many cases it covers, and how many of those are not as we have them.

    `ours` is a file that holds our verdicts, or will.
    """
    module = importlib.import_module(f"bench.peers.{peer}")
    taken: Taken
    taken, found = module.run(path)
    words = {"overdue": "open", **getattr(module, "WORDS", {})}
    expected = {
        key: words.get(verdict, verdict)
        for key, verdict in _ours(path, Path(ours)).items()
        if module.COVERS == "all" or key.split(":")[0] in module.COVERS
    }
    wrong = [key for key in expected | found if expected.get(key) != found.get(key)]
    taken.events = count_of(path)
    taken.facts = {
        "covers": "all" if module.COVERS == "all" else sorted(module.COVERS),
        "cases": len(expected),
        "differing": len(wrong),
        "examples": [f"{key}: {found.get(key)}, ours {expected.get(key)}" for key in wrong[:5]],
    }
    return taken


def ours_beside(path: str, peer: str) -> Taken:
    """What our replay takes of the same log, with the rules that the peer covers."""
    covered = importlib.import_module(f"bench.peers.{peer}").COVERS
    rules = [each for each in ten_rules() if covered == "all" or covers(covered, each.id)]
    taken, outcome = timed(lambda: replayed(rules, events_of(path), alerts=False))
    taken.events = count_of(path)
    taken.facts = {"rules": len(rules), "cases": len(outcome.verdicts)}
    return taken


def covers(covered: Iterable[str], rule: str) -> bool:
    """Whether a rule, or a step of it, is covered."""
    return any(each.split("/")[0] == rule for each in covered)


def _ours(path: str, file: Path) -> dict[str, str]:
    if not file.exists():
        file.write_bytes(msgspec.json.encode(verdicts(path)))
    return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
