"""The report as lines for a reader."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from monitor.report.cases import MATERIAL, Story
from monitor.report.figures import UNSTABLE, duration_text, spoken
from monitor.report.handoffs import HandoffFigures
from monitor.report.learn import WATCH, Ghosts, Population, Report, Unused
from monitor.report.line import Column, Glyphs, Line, Span, clipped, paragraph, table
from monitor.report.load import AlarmLoad, RoleLoad, Shift, ShiftLoad, following
from monitor.report.names import counted
from monitor.report.rules import RuleFigures
from monitor.report.timeline import draw

SECTIONS: Final = ("rules", "handoffs", "cases", "load", "next")
"""The parts of a report, in order."""
_SUPERSCRIPTS: Final = {"10^-1": "10⁻¹", "10^-2": "10⁻²", "10^-3": "10⁻³"}
_LATE: Final = {"charting": "the charting", "feed": "the feed", "record": "the record"}
"""What was late where the care was not."""
_WORD: Final = re.compile(r"""(?:'[^']*'|"[^"]*"|[^ '"])+""")
"""A word of a command, with what is quoted in it."""
_ROW: Final = 4
"""Shifts from which on a row of bars shows something."""
_FEWER: Final = 4
"""Moves that are shown again, with what must go with them."""
_MOST: Final = 8
"""Handoffs and roles that are shown."""


def lines_of(
    report: Report, width: int, glyphs: Glyphs, sections: Collection[str] = SECTIONS
) -> Iterator[Line]:
    """The report, or some of its `SECTIONS`, `width` columns wide."""
    zone = ZoneInfo(report.timezone)
    parts = (
        ("Rules", "met, of the decided; delays are after the deadline", _rules(report, zone, width, glyphs)),
        (
            "Handoffs",
            "worst first, by the low end of the 95 % interval",
            _handoffs(report, width, glyphs),
        ),
        ("Worst cases", "", _cases(report, zone, width, glyphs)),
        (
            "Alarm load",
            "what each role would have been told, by whole 12-hour shifts",
            _load(report.load, width, glyphs, all_roles=set(sections) == {"load"}),
        ),
        ("What to try next", "", _suggested(report, width)),
    )
    yield from _title(report, zone, width, glyphs)
    for number, (name, (heading, note, lines)) in enumerate(zip(SECTIONS, parts, strict=True), 1):
        if name not in sections:
            continue
        yield []
        title = f"{number} {heading}"
        fits = len(title) + 2 + len(note) <= width
        yield [(title, "title"), (f"  {note}" if note and fits else "", "quiet")]
        yield from lines


def _title(report: Report, zone: ZoneInfo, width: int, glyphs: Glyphs) -> Iterator[Line]:
    days = [f"{_day(at, zone)} {at.astimezone(zone):%Y}" for at in (report.first_at, report.until)]
    span = f" {glyphs.dash} ".join(dict.fromkeys(days))
    yield [("What the history says", "title"), (f"  {span}", "")]
    tests = f" ({report.test_patients:,} for tests, left out)" if report.test_patients else ""
    of = f"{counted(report.events, 'event')} of {counted(report.patients, 'patient')}"
    about = f"{of}{tests}; local time ({report.timezone})"
    yield from paragraph(about, width, "quiet")
    if report.no_registry is not None:
        yield from paragraph(
            f"No registry of microsystems: {report.no_registry} match nothing. Do not trust these rules.",
            width,
            "bad",
        )


def _day(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b}"


# Rules


def _rules(report: Report, zone: ZoneInfo, width: int, glyphs: Glyphs) -> Iterator[Line]:
    shown: list[RuleFigures | str] = []
    for pack in report.packs:
        shown += [pack.name, *pack.rules]
    if shown:
        yield from table(_rule_columns(shown, set(report.shadow)), width, glyphs)
    yield from paragraph("; ".join(_legend(report)), width, "quiet")
    if report.ghosts.visits:
        yield from paragraph(_ghosts(report.ghosts), width)
    for each in report.populations:
        yield from paragraph(_population(each, zone), width)
    yield from _unused(report, width)


def _legend(report: Report) -> Iterator[str]:
    """The words of the table that a reader may not know, of those that stand in it."""
    shown = [each for pack in report.packs for each in pack.rules]
    if any(each.void for each in shown):
        yield "void: no longer owed"
    if any(each.unknown for each in shown):
        yield "unknown: the feed was silent"
    if any(each.open for each in shown):
        yield "open: not yet decided, overdue: of these past the deadline"
    if any(each.p90_delay_seconds is not None for each in shown):
        yield "p90: 9 of 10 late ones came within it"
    if any(map(_is_early, shown)):
        yield "early: no percentage yet, more are open than decided"
    if any(each.rule in report.shadow for each in shown):
        yield "s: in shadow, counted and alerts no one"


def _ghosts(found: Ghosts) -> str:
    watch = "watches for that" if found.watched else "of pack:data-quality watches for that"
    one = found.visits == 1
    return (
        f"{found.overdue:,} of the {counted(found.of, 'overdue case')} belong{'s' * (found.overdue == 1)} to "
        f"{counted(found.visits, 'visit')} of which nothing was recorded for over 24 h: "
        f"{'its discharge was' if one else 'their discharges were'} probably never sent; `{WATCH}` {watch}."
    )


def _is_early(figures: RuleFigures) -> bool:
    """Whether it is too early for a percentage: more cases are open than decided, and those decided first are not the rest."""
    return figures.met_share is not None and figures.open > figures.decided


def _met(figures: RuleFigures) -> str:
    """A rule that only knows violations has no cases that could be met."""
    return "-" if figures.met_share is None else f"{figures.met:,}/{figures.decided:,}"


def _share(figures: RuleFigures) -> str:
    share = figures.met_share
    return "-" if share is None else "early" if _is_early(figures) else _percent(share)


def _rule_columns(shown: Sequence[RuleFigures | str], shadow: set[str]) -> list[Column]:
    def cells(text_of: Callable[[RuleFigures], str], style: str = "") -> list[Span]:
        return [("", "") if isinstance(each, str) else _cell(text_of(each), style) for each in shown]

    names = [_rule_name(each, shadow) for each in shown]
    columns = [
        Column("", names, left=True),
        Column("met", cells(_met), weight=30),
        Column("%", cells(_share)),
        Column("late", cells(lambda each: _number(each.late), "late"), weight=20),
        Column("missed", cells(lambda each: _number(each.missed), "bad"), weight=19),
        Column("violated", cells(lambda each: _number(each.violated), "bad"), weight=18),
        Column("void", cells(lambda each: _number(each.void)), weight=2),
        Column("unknown", cells(lambda each: _number(each.unknown)), weight=1),
        Column("open", cells(lambda each: _number(each.open)), weight=3),
        Column("overdue", cells(lambda each: _number(each.overdue), "bad"), weight=10),
        Column("median", cells(lambda each: _delay(each.median_delay_seconds)), weight=9),
        Column("p90", cells(lambda each: _delay(each.p90_delay_seconds)), weight=8),
    ]
    return [column for column in columns if any(text not in ("", "-") for text, _ in column.cells)]


def _rule_name(of: RuleFigures | str, shadow: set[str]) -> Span:
    if isinstance(of, str):
        return of, "head"
    return (f"s {of.title}", "quiet") if of.rule in shadow else (f"  {of.title}", "")


def _cell(text: str, style: str) -> Span:
    return text, "quiet" if text == "-" else style


def _number(count: int) -> str:
    return f"{count:,}" if count else "-"


def _percent(share: float) -> str:
    """Of a hundred; 0 and 100 only where it is all or nothing."""
    return f"{100 * share:.0f}" if share in (0, 1) else f"{min(max(100 * share, 0.1), 99.9):.1f}"


def _delay(seconds: float | None) -> str:
    return "-" if seconds is None else duration_text(seconds)


def _population(of: Population, zone: ZoneInfo) -> str:
    """One sentence on a rule about many journeys."""
    what = "silent for too long" if of.target is None else "below its target"
    often = "never" if not of.times else "once" if of.times == 1 else f"{of.times:,} times"
    now = (
        ""
        if of.since is None
        else f", the last time since {_day(of.since, zone)} {of.since.astimezone(zone):%H:%M}"
    )
    if of.target is None:
        return f"{of.rule}: {often} {what}{now}."
    share = "too few to say" if of.share is None else f"{_percent(of.share)} % met"
    window = "" if of.over_seconds is None else f" in the last {_window(of.over_seconds)}"
    return f"{of.rule}: {share} of {of.decided:,}{window}, target {100 * of.target:g} %; {often} {what}{now}."


def _window(seconds: float) -> str:
    return "24 h" if seconds == 86_400 else spoken(seconds)


def _unused(report: Report, width: int) -> Iterator[Line]:
    """The rules without a case, together with those that lack the same type of event; and those that nothing could meet."""
    for types, rules in _by_types(report.unused):
        why = f"no event of type {types} was ever seen" if types else "nothing opened one"
        yield from paragraph(f"No case, for {why}: {rules}.", width, "quiet")
    for types, rules in _by_types(report.blind):
        yield from paragraph(f"Never met, for no event of type {types} was ever seen: {rules}.", width, "bad")


def _by_types(lacking: Sequence[Unused]) -> list[tuple[str, str]]:
    """The types of event that were never seen, and the rules that lack just these; those that lack none come last."""
    found: dict[str, list[str]] = defaultdict(list)
    for each in lacking:
        found[" or ".join(each.never_seen)].append(each.rule)
    return [(types, ", ".join(found[types])) for types in sorted(found, key=lambda each: (not each, each))]


# Handoffs


def _handoffs(report: Report, width: int, glyphs: Glyphs) -> Iterator[Line]:
    found = [each for each in report.handoffs if each.defects][:_MOST]
    if not report.handoffs:
        yield [("No rule judged a move between two places.", "quiet")]
    elif not found:
        yield [(f"No defect in {sum(each.opportunities for each in report.handoffs):,} handoffs.", "")]
    beside = [each for each in report.beside if each.defects]
    yield from _handoff_tables(
        {"The patient's move": found, "What must go with it": beside[:_FEWER]}, width, glyphs
    )
    left = len([each for each in report.handoffs if each.defects]) - len(found)
    without = [each for each in report.handoffs if not each.defects]
    said = []
    if left:
        said.append(f"{left} more moves with defects")
    if len(beside) > _FEWER:
        said.append(f"{len(beside) - _FEWER} more with defects in what goes with them")
    if without and found:
        said.append(
            f"{len(without)} without, in {sum(each.opportunities for each in without):,} opportunities"
        )
    if report.pending_handoffs:
        said.append(f"{report.pending_handoffs} overdue that led nowhere yet")
    if report.counts_shadow:
        said.append("judged by rules in shadow, for there are no others")
    if said:
        yield from paragraph("; ".join(said), width, "quiet")


def _handoff_tables(
    tables: Mapping[str, Sequence[HandoffFigures]], width: int, glyphs: Glyphs
) -> Iterator[Line]:
    """With the same columns, below each other; of each handoff the figures, and below them the rule that fails most."""
    everything = [each for found in tables.values() for each in found]
    if not everything:
        return
    longest = max((title for title, found in tables.items() if found), key=len)
    ((first, _), *headings), *lines = table(
        _handoff_columns(longest, everything, width, glyphs), width, glyphs
    )
    rows = iter(lines)
    for title, found in tables.items():
        if found:
            yield [(title.ljust(len(first)), "head"), *headings]
        for each in found:
            yield next(rows)
            rule, defects = next(iter(each.rules.items()))
            often = f"most often {rule} ({defects:,} of {each.defects:,})"
            yield from paragraph(often, width, "quiet", indent="    ")


def _handoff_columns(title: str, found: Sequence[HandoffFigures], width: int, glyphs: Glyphs) -> list[Column]:
    worst = max(each.high for each in found)
    figures = [
        Column("defects", [(f"{each.defects:,} of {each.opportunities:,}", "strong") for each in found]),
        Column(
            "% (interval)",
            [(_interval(each, glyphs), "") for each in found],
            weight=30,
        ),
        Column("IHI level", [_magnitude(each, glyphs) for each in found], weight=20),
        Column("late", [_cell(_number(each.late), "late") for each in found], weight=15),
        Column("missing", [_cell(_number(each.missing), "bad") for each in found], weight=14),
        Column("delay", [_cell(_delay(each.median_delay_seconds), "") for each in found], weight=10),
    ]
    if width >= 110:
        whiskers: list[Span] = [(_whisker(each, worst, 12, glyphs), "late") for each in found]
        figures.insert(2, Column("", whiskers, left=True))
    room = width - sum(
        max(len(column.title), *(len(text) for text, _ in column.cells)) + 1 for column in figures
    )
    names: list[Span] = [(_pair(each, max(room, 24), glyphs), "") for each in found]
    return [Column(title, names, left=True), *figures]


def _interval(figures: HandoffFigures, glyphs: Glyphs) -> str:
    return f"{100 * figures.share:.0f} ({100 * figures.low:.0f}{glyphs.dash}{100 * figures.high:.0f})"


def _pair(figures: HandoffFigures, room: int, glyphs: Glyphs) -> str:
    """Both ends of a handoff; where there is no room the longer name is cut."""
    from_, to = figures.from_name, figures.to_name
    room -= len(glyphs.arrow) + 2
    half = room // 2
    if len(from_) + len(to) > room:
        from_ = clipped(from_, max(half, room - len(to)), glyphs)
        to = clipped(to, room - len(from_), glyphs)
    return f"{from_} {glyphs.arrow} {to}"


def _magnitude(figures: HandoffFigures, glyphs: Glyphs) -> Span:
    name = figures.magnitude
    shown = _SUPERSCRIPTS.get(name, name) if glyphs.arrow == "→" else name
    return shown, "bad" if name == UNSTABLE else ""


def _whisker(figures: HandoffFigures, worst: float, width: int, glyphs: Glyphs) -> str:
    """The interval as a line and the share as a point on it, from 0 to the worst that is shown."""
    low, point, high = (
        round(share / worst * (width - 1)) for share in (figures.low, figures.share, figures.high)
    )
    chars = [" "] * width
    chars[low : high + 1] = glyphs.between * (high - low + 1)
    chars[low], chars[high] = glyphs.low, glyphs.high
    chars[point] = glyphs.point
    return "".join(chars)


# Cases


def _cases(report: Report, zone: ZoneInfo, width: int, glyphs: Glyphs) -> Iterator[Line]:
    if not report.cases:
        yield [("No case went wrong and raised an alarm.", "")]
    for number, story in enumerate(report.cases):
        if number:
            yield []
        yield from _story(story, "abc"[number], zone, width, glyphs)


def _story(story: Story, letter: str, zone: ZoneInfo, width: int, glyphs: Glyphs) -> Iterator[Line]:
    title = f"{letter}  {story.summary}"
    if story.false_alarm:
        title = f"{letter}  False alarm: this deadline was met, only {_LATE[story.cause]} was late"
    about = f"{story.severity} {glyphs.dot} {story.rule} {glyphs.dot} patient {story.patient}"
    if len(title) + len(about) + 2 <= width:
        yield [(title.ljust(width - len(about)), "strong"), (about, "quiet")]
    else:
        yield from paragraph(title, width, "strong")
        yield from paragraph(about, width, "quiet", indent="   ")
    for sentence, style in sentences(story, zone):
        yield from paragraph(sentence, width, style, indent="   ")
    yield from draw(story, zone, width, glyphs)


def sentences(story: Story, zone: ZoneInfo) -> Iterator[Span]:
    """What the alarm asked for; care delay and charting delay; what else went wrong, and how it ended; a sentence each."""
    if story.false_alarm:
        yield f"The alarm said: {story.summary.rstrip('.')}.", ""
    if story.action is not None:
        yield f"What to do: {story.action.rstrip('.')}.", ""
    yield from _care(story, zone)
    yield from _charting(story)
    if story.also:
        others = f" and {len(story.also) - _FEWER} more" if len(story.also) > _FEWER else ""
        yield f"Also not met in this visit: {', '.join(story.also[:_FEWER])}{others}.", ""
    told = story.next_move if _is_missing(story) else story.came
    after = told.at if told is not None else story.trigger.at
    if story.left is not None and story.left.at > after:
        yield f"Then: {_moment(story.left.at, zone)} {story.left.what}.", ""


def _is_missing(story: Story) -> bool:
    """Whether what was expected has not come to be known."""
    return story.came is None and story.care_delay_seconds is not None


def _moment(at: datetime, zone: ZoneInfo) -> str:
    return f"{_day(at, zone)} {at.astimezone(zone):%H:%M}"


def _care(story: Story, zone: ZoneInfo) -> Iterator[Span]:
    """Care is spoken of only where something is known of it; where nothing is, the record."""
    came, delay = story.came, story.care_delay_seconds
    if story.verdict == "late" and came is not None and delay is not None:
        yield f"Care: {spoken(delay)} after the deadline.", "bad"
    elif story.verdict == "violated" and came is not None:
        yield f"Care: {_moment(came.at, zone)} {came.what}.", "bad"
    elif story.verdict == "violated":
        yield f"Record: {_moment(story.trigger.at, zone)} {story.trigger.what}.", "bad"
    elif delay is not None and story.verdict != "met":
        then = ""
        if story.next_move is not None:
            then = f"; the next move on record: {_moment(story.next_move.at, zone)} {story.next_move.what}"
        elif story.left is None:
            then = "; no later move of the patient is on record"
        yield f"Record: nothing had come {spoken(delay)} after the deadline{then}.", "bad"
    elif came is not None and story.due_at is not None:
        yield f"Care: in time, {spoken((story.due_at - came.at).total_seconds())} before the deadline.", "met"


def _charting(story: Story) -> Iterator[Span]:
    came = story.came
    if came is None:
        return
    charting = came.charting_delay_seconds
    said = ["at once" if charting < 60 else f"{spoken(charting)} after it happened"]
    if came.delivery_delay_seconds >= MATERIAL.total_seconds():
        said.append(f"sent by the feed {spoken(came.delivery_delay_seconds)} after that")
    if story.cause == "record" and story.settled_at is not None:
        settled = spoken((story.settled_at - came.at).total_seconds())
        said.append(f"put right in the record {settled} after it happened")
    yield f"Charting: {', '.join(said)}.", "charting" if story.was_charted_late else "quiet"


# Alarm load


def _load(load: AlarmLoad, width: int, glyphs: Glyphs, *, all_roles: bool) -> Iterator[Line]:
    if not (load.fired or load.total.warnings or load.shadow_fired):
        yield [("No alarm would have fired.", "")]
        return
    rows = load.roles if all_roles else load.roles[:_MOST]
    yield from table(_load_columns([*rows, load.total]), width, glyphs)
    rest = load.roles[len(rows) :]
    if rest:
        alarms = counted(sum(each.alarms for each in rest), "alarm")
        yield from paragraph(
            f"and {counted(len(rest), 'more role')} with {alarms}; --only load shows all", width, "quiet"
        )
    yield from _sparks(load, width, glyphs)
    false = load.charted_late + load.withdrawn
    if load.fired:
        falsely = (
            f"{false:,} ({100 * false / load.fired:.0f} %) of them falsely: {load.charted_late:,} for what was done "
            f"in time and charted late, {load.withdrawn:,} withdrawn after a correction."
        )
        told = falsely if false else "none of them falsely."
        heard = (
            f"{counted(load.fired, 'alert')} fired, {told} An alert gives one alarm to each role that it reaches, and may give "
            "a warning before it fires."
        )
        yield from paragraph(heard, width)
    if load.shadow_fired:
        yield from paragraph(
            f"Rules in shadow would have fired {load.shadow_fired:,} more: "
            f"{_per_shift(load.shadow.day)} a day shift, {_per_shift(load.shadow.night)} a night shift.",
            width,
            "quiet",
        )


def _sparks(load: AlarmLoad, width: int, glyphs: Glyphs) -> Iterator[Line]:
    """Alarms in each shift as a row of small bars, for days and for nights; of a long history the end."""
    most = max(load.per_shift)
    if not most or load.first is None or len(load.per_shift) < _ROW:
        return
    shifts = [Shift(*load.first)]
    for _ in load.per_shift[1:]:
        shifts.append(following(shifts[-1]))
    for part in ("day", "night"):
        counts = [count for count, shift in zip(load.per_shift, shifts, strict=True) if shift.part == part][
            -(width - 40) :
        ]
        top = len(glyphs.levels) - 1
        bars = "".join(glyphs.levels[-(-count * top // most)] for count in counts)
        yield [
            (f"{part:<6}", "quiet"),
            (bars, "late"),
            ("  alarms in each shift" if part == "day" else "", "quiet"),
        ]


def _load_columns(rows: Sequence[RoleLoad]) -> list[Column]:
    def styled(texts: Sequence[str]) -> list[Span]:
        return [(text, "strong" if number == len(texts) - 1 else "") for number, text in enumerate(texts)]

    return [
        Column("", styled([each.role for each in rows]), left=True),
        Column("alarms", styled([f"{each.alarms:,}" for each in rows])),
        Column("day: median", styled([_per_shift(each.day) for each in rows])),
        Column("worst", styled([_worst(each.day) for each in rows]), weight=5),
        Column("night: median", styled([_per_shift(each.night) for each in rows])),
        Column("worst", styled([_worst(each.night) for each in rows]), weight=5),
        Column("warnings", styled([_number(each.warnings) for each in rows]), weight=4),
    ]


def _per_shift(load: ShiftLoad) -> str:
    return "-" if load.median is None else f"{load.median:g}"


def _worst(load: ShiftLoad) -> str:
    return (
        "-"
        if load.worst_on is None
        else f"{load.worst} ({load.worst_on:%a} {load.worst_on.day} {load.worst_on:%b})"
    )


# What to try next


def _suggested(report: Report, width: int) -> Iterator[Line]:
    if not report.suggestions:
        yield [("Nothing stands out.", "")]
    for number, each in enumerate(report.suggestions):
        if number:
            yield []
        first, *more = paragraph(each.finding, width - 3)
        yield [("abcdefgh"[number] + "  ", "strong"), *first]
        yield from ([("   ", ""), *line] for line in more)
        if each.command is not None:
            yield from _command(each.command, width)


def _command(command: str, width: int) -> Iterator[Line]:
    """A command on as many lines as it needs, to be pasted as it stands."""
    lines = [""]
    for word in _WORD.findall(command):
        if len(lines[-1]) + 1 + len(word) > width - 9 and lines[-1]:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    for number, line in enumerate(lines):
        begin, end = "   $ " if number == 0 else "       ", " \\" if number < len(lines) - 1 else ""
        yield [(begin, "quiet"), (line, "command"), (end, "quiet")]
