"""`handoff replay --truth FILE`: whether a replay finds just the cases that the file says there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, timedelta
from typing import Annotated, BinaryIO, Final, Literal, NamedTuple

import msgspec

from monitor.commands.streams import FINE, PROBLEMS, UNABLE, Failed, Streams
from monitor.core.change import CaseVerdict
from monitor.core.event import Moment
from monitor.ingest.files import whole
from monitor.report.line import printable
from monitor.report.names import counted

_SHOWN: Final = 20
"""Differences that are told one by one."""
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
_Verdict = Literal["met", "late", "missed", "violated", "void", "unknown", "open"]


class Case(msgspec.Struct, frozen=True):
    """A line of a truth file: a case by the keys of `replay --format json`; other keys are passed over."""

    rule: str
    patient: str
    trigger: str
    trigger_at: Moment
    verdict: _Verdict
    overdue: bool
    step: str | None = None
    encounter: str | None = None
    delay_seconds: _Seconds | None = None


class _Compared(NamedTuple):
    """What a truth and a replay have of the rules that were loaded."""

    agreeing: int
    differing: list[str]
    """A text for each case in which they differ, in order of triggers, without patients."""
    unknown: list[str]
    """A text for each rule that has cases in the replay alone."""
    not_loaded: int
    """Rules of the truth that the replay did not run."""


def read_truth(path: str, stdin: BinaryIO) -> list[Case]:
    """The cases of a truth file. Raises `Unreadable`, and `Failed` where a line is no case."""
    decode = msgspec.json.Decoder(Case).decode
    cases = []
    for number, line in enumerate(whole(path, stdin).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            cases.append(decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            why = f"line {number} is no case of a truth: {printable(str(error))}"
            raise Failed(UNABLE, f"cannot use {path}: {why}") from error
    return cases


def say_truth(
    truth: Sequence[Case], rules: Collection[str], verdicts: Iterable[CaseVerdict], streams: Streams
) -> int:
    """Say on stderr whether a replay of these rules agrees with the truth, and where not; returns the exit code."""
    found = _compare(truth, rules, verdicts)
    streams.say(f"truth: {_headline(found)}")
    for text in [*found.unknown, *found.differing[:_SHOWN]]:
        streams.say(text)
    if len(found.differing) > _SHOWN:
        streams.say(f"and {len(found.differing) - _SHOWN:,} more")
    return PROBLEMS if found.differing or found.unknown else FINE


def _headline(found: _Compared) -> str:
    agreeing, differing, rules = found.agreeing, len(found.differing), found.not_loaded
    said = f"{counted(agreeing, 'case')} {'agrees' if agreeing == 1 else 'agree'}"
    if differing:
        said += f", {differing:,} {'does' if differing == 1 else 'do'} not"
    if rules:
        said += f"; {counted(rules, 'rule')} of the truth {'was' if rules == 1 else 'were'} not loaded"
    return said


def _compare(truth: Sequence[Case], rules: Collection[str], verdicts: Iterable[CaseVerdict]) -> _Compared:
    of_truth = {case.rule for case in truth}
    found = [_case(verdict) for verdict in verdicts]
    true = Counter(case for case in truth if case.rule in rules)
    replayed = Counter(case for case in found if case.rule in of_truth)
    unknown = Counter(case.rule for case in found if case.rule not in of_truth)
    return _Compared(
        (true & replayed).total(),
        [*_differences(true - replayed, replayed - true)],
        [
            f"{rule}: {counted(count, 'case')} in the replay, none in the truth; is it a rule of the packs?"
            for rule, count in sorted(unknown.items())
        ],
        len(of_truth.difference(rules)),
    )


def _case(verdict: CaseVerdict) -> Case:
    return msgspec.convert(verdict, Case, from_attributes=True)


def _differences(true: Counter[Case], replayed: Counter[Case]) -> Iterator[str]:
    """What only one of the two has; the verdicts on one trigger stand in one text."""
    pairs: dict[tuple[str, str | None, str], tuple[list[Case], list[Case]]] = {}
    for case in sorted([*true.elements(), *replayed.elements()], key=_order):
        of_truth, of_replay = pairs.setdefault((case.rule, case.step, case.trigger), ([], []))
        (of_truth if case in true else of_replay).append(case)
    for of_truth, of_replay in pairs.values():
        for one, other in zip(of_truth, of_replay, strict=False):
            yield f"{_name(one)}: {_difference(one, other)}"
        for case in of_truth[len(of_replay) :]:
            yield f"{_name(case)}: {_verdict(case)} in the truth; the replay has no such case"
        for case in of_replay[len(of_truth) :]:
            yield f"{_name(case)}: {_verdict(case)} in the replay; the truth has no such case"


def _order(case: Case) -> tuple[object, ...]:
    return case.trigger_at, case.rule, case.step or "", case.trigger, case.patient, case.encounter or ""


def _name(case: Case) -> str:
    rule = case.rule if case.step is None else f"{case.rule}/{case.step}"
    at = case.trigger_at.astimezone(UTC)
    return printable(f"{rule}, trigger {case.trigger} at {at:%Y-%m-%d %H:%M:%S}Z")


def _difference(true: Case, replayed: Case) -> str:
    if _verdict(true) != _verdict(replayed):
        return f"{_verdict(true)} in the truth, {_verdict(replayed)} in the replay"
    names = {"patient": "patient", "encounter": "encounter", "trigger_at": "time of the trigger"}
    different = [word for name, word in names.items() if getattr(true, name) != getattr(replayed, name)]
    return f"the replay has another {' and another '.join(different)}"


def _verdict(case: Case) -> str:
    if case.delay_seconds is not None:
        return f"{case.verdict} by {timedelta(seconds=case.delay_seconds)}"
    return f"{case.verdict} and overdue" if case.overdue else case.verdict
