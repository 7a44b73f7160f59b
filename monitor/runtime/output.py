"""What commands print: one JSON object a line, or tables of text. The formats are a promise; tests freeze them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from monitor.core.change import AlertChange, CaseVerdict
from monitor.core.event import moment_text
from monitor.core.journey import Stay
from monitor.core.population import DECIDED, Span
from monitor.core.rule import CaseRule
from monitor.formats.reject import Reject
from monitor.report.figures import duration_text
from monitor.report.line import printable
from monitor.report.rules import RuleFigures, rule_figures
from monitor.runtime.population import Populations

_encode: Final = msgspec.json.Encoder().encode

COLUMNS: Final = (
    "rule",
    "decided",
    "met",
    "met %",
    "late",
    "missed",
    "violated",
    "void",
    "unknown",
    "open",
    "overdue",
    "median delay",
    "p90 delay",
)
_LEGEND: Final = (
    "met % is of the decided: met, late, missed, violated. Open includes overdue. "
    "The delay is that of the late, after the deadline."
)
_GRAVITY: Final = {"critical": 0, "warning": 1, "info": 2}


def json_line(fields: dict[str, Any]) -> str:
    """A JSON object on a line of its own, its keys in the order given."""
    return _encode(fields).decode() + "\n"


def reject_line(file: str, number: int, reject: Reject) -> str:
    """A reject, with the file and the number of the message in it."""
    fields = {"file": file, "message": number, "segment": reject.segment, "field": reject.field}
    return json_line({**fields, "reason": reject.reason, "detail": reject.detail})


def stay_line(stay: Stay) -> str:
    """A stay of a patient in a place."""
    return json_line(
        {
            "patient": stay.patient,
            "encounter": stay.encounter,
            "place": stay.place,
            "kind": stay.kind,
            "entered_at": _moment(stay.entered_at),
            "left_at": _moment(stay.left_at),
            "from": stay.from_,
            "to": stay.to,
        }
    )


def verdict_line(case: CaseVerdict) -> str:
    """The verdict of a case."""
    return json_line(
        {
            "rule": case.rule,
            "patient": case.patient,
            "encounter": case.encounter,
            "trigger": case.trigger,
            "trigger_at": _moment(case.trigger_at),
            "verdict": case.verdict,
            "reason": case.reason,
            "due_at": _moment(case.due_at),
            "decided_at": _moment(case.decided_at),
            "delay_seconds": case.delay_seconds,
            "from": case.from_,
            "to": case.to,
            "step": case.step,
            "evidence": case.evidence,
            "case": case.case,
            "overdue": case.overdue,
        }
    )


def alert_line(change: AlertChange) -> str:
    """A change of an alert."""
    generation, at, number = change.sequence
    return json_line(
        {
            "alert": change.alert,
            "rule": change.rule,
            "severity": change.severity,
            "state": change.state,
            "level": change.level,
            "reason": change.reason,
            "at": _moment(change.at),
            "patient": change.patient or None,
            "encounter": change.encounter,
            "due_at": _moment(change.due_at),
            "sequence": [generation, _moment(at), number],
            "summary": change.summary,
        }
    )


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment_text(moment)


def _minute(moment: datetime) -> str:
    """A moment for people, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def rule_table(rules: Sequence[CaseRule], cases: Iterable[CaseVerdict]) -> str:
    """How often each rule was met, with the number of cases that each percentage is taken of."""
    return aligned([COLUMNS, *map(_cells, rule_figures(rules, cases))], texts=1) + _LEGEND + "\n"


def _cells(row: RuleFigures) -> Sequence[str]:
    counts = (row.late, row.missed, row.violated, row.void, row.unknown, row.open, row.overdue)
    return (
        row.title,
        f"{row.decided:,}",
        f"{row.met:,}",
        "-" if row.met_share is None else f"{100 * row.met_share:.1f}",
        *(f"{each:,}" for each in counts),
        _delay_text(row.median_delay_seconds),
        _delay_text(row.p90_delay_seconds),
    )


def _delay_text(seconds: float | None) -> str:
    return "-" if seconds is None else duration_text(seconds)


def populations_text(populations: Populations) -> str:
    """How the rules about many journeys stand, a paragraph each; every share with what it is taken of."""
    text = ""
    for rule, found in populations.reliability:
        recent = ", ".join(f"{name} {found.recent[name]:,}" for name in DECIDED)
        others = ", ".join(f"{name} {found.counts[name]:,}" for name in ("void", "unknown", "open"))
        share = "too few to say" if found.share is None else f"{100 * found.share:.1f} % met"
        text += (
            f"\n{rule.id}: {share} of {found.recent.total():,} decided in the last "
            f"{duration_text(rule.reliability.over.total_seconds())} ({recent}); target "
            f"{100 * rule.reliability.target:g} %; in all {others}; {_spans_text('below the target', found.short)}\n"
        )
    for silent, spans in populations.silence:
        text += f"\n{silent.id}: {_spans_text('silent', spans)}\n"
    return text


def _spans_text(what: str, spans: Sequence[Span]) -> str:
    if not spans:
        return f"never {what}"
    since, end = spans[-1]
    times = "once" if len(spans) == 1 else f"{len(spans):,} times"
    last = f"since {_minute(since)}" if end is None else f"last from {_minute(since)} to {_minute(end)}"
    return f"{what} {times}, {last}"


def worst_tables(rules: Iterable[CaseRule], cases: Sequence[CaseVerdict], count: int) -> str:
    """The late cases with the longest delays, and the missing ones: the gravest rules first, then the oldest."""
    gravity = {rule.id: _GRAVITY[rule.severity] for rule in rules}
    late = sorted(
        (case for case in cases if case.verdict == "late"), key=lambda case: -(case.delay_seconds or 0)
    )
    missing = sorted(
        (case for case in cases if case.verdict == "missed" or case.overdue),
        key=lambda case: (gravity[case.rule], _sooner(case)),
    )
    return _cases_table(
        "latest", late[:count], lambda case: duration_text(case.delay_seconds or 0)
    ) + _cases_table(
        "missing", missing[:count], lambda case: "missed" if case.verdict == "missed" else "overdue"
    )


def _sooner(case: CaseVerdict) -> datetime:
    return case.due_at or case.trigger_at


def _cases_table(title: str, cases: Sequence[CaseVerdict], last: Callable[[CaseVerdict], str]) -> str:
    if not cases:
        return ""
    lines = [
        (
            case.rule,
            printable(case.patient),
            printable(case.trigger),
            _minute(case.trigger_at),
            "-" if case.due_at is None else _minute(case.due_at),
            last(case),
        )
        for case in cases
    ]
    return "\n" + aligned([(title, "patient", "trigger", "trigger at", "due at", ""), *lines], texts=6)


def aligned(lines: Sequence[Sequence[str]], texts: int) -> str:
    """Columns two spaces apart; the first `texts` of them flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ""
    for line in lines:
        cells = [
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text += "  ".join(cells).rstrip() + "\n"
    return text
