"""Which cases of a partition wait, for the gauges of open and overdue cases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from monitor.core.change import CaseVerdict
from monitor.runtime.reader import OpenCases


class Waiting:
    """The open cases, each by its id; what is noted of them last counts."""

    def __init__(self) -> None:
        self._cases: dict[str, tuple[str, datetime | None]] = {}
        """The rule, and the deadline of one that is overdue."""

    def note(self, case: str, verdict: CaseVerdict | None) -> None:
        """How a case stands now; None: there is none any more."""
        if verdict is None or verdict.verdict != "open":
            self._cases.pop(case, None)
        else:
            self.add(case, verdict.rule, verdict.due_at if verdict.overdue else None)

    def add(self, case: str, rule: str, due_at: datetime | None) -> None:
        """A case is open; with its deadline, if it is overdue."""
        self._cases[case] = rule, due_at

    def cases(self) -> Iterable[tuple[str, datetime | None]]:
        """The rule of each, and the deadline of one that is overdue."""
        return self._cases.values()


def counted(waiting: Iterable[Waiting], rules: Iterable[str]) -> list[OpenCases]:
    """How many wait, of each of the rules, in several partitions together."""
    found = {rule: OpenCases(rule, 0, 0, None) for rule in rules}
    for each in waiting:
        for rule, due_at in each.cases():
            of_rule = found.setdefault(rule, OpenCases(rule, 0, 0, None))
            of_rule.open += 1
            if due_at is not None:
                of_rule.overdue += 1
                of_rule.oldest_due_at = min(due_at, of_rule.oldest_due_at or due_at)
    return list(found.values())
