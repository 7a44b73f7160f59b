"""One case as a drawing over time: where the patient was, what happened, when it was charted, and the alarm.

Each lane is a bar with marks; from each mark a line leads down to what it says, so that no legend is needed. The
deadline is drawn through all lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from textwrap import wrap
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from monitor.report.cases import MATERIAL, Alarm, Story, lanes
from monitor.report.figures import spoken
from monitor.report.line import Glyphs, Line, Row, Span, clipped

_GUTTER: Final = 10
"""Columns for the names of the lanes."""
_STEPS: Final = tuple(
    timedelta(minutes=minutes)
    for minutes in (
        1,
        2,
        5,
        10,
        15,
        30,
        60,
        120,
        180,
        240,
        360,
        720,
        1440,
        2880,
        4320,
        10_080,
        20_160,
        40_320,
    )
)
_TICKS_APART: Final = 9
"""Columns between two times on the axis, at least."""
_DAY_WIDTH: Final = 12
"""Columns of a day such as `Wed 14 Jan`, with a space around it."""
_LEAST: Final = 8
"""Columns below which a label is not worth cutting."""
_ENDS: Final = {
    "met": "it came in time",
    "late": "it came, too late",
    "charted_late": "done in time, a false alarm",
    "void": "no longer needed",
    "withdrawn": "withdrawn: the record was corrected",
    "missed": "it can no longer come",
    "expired": "no longer shown",
}


class Label(NamedTuple):
    """What marks at one column say, a line each."""

    column: int
    texts: tuple[Span, ...]

    @property
    def longest(self) -> int:
        return max(len(text) for text, _ in self.texts)

    def covers(self, column: int) -> bool:
        """Whether the label, running to the left, would stand in the way of a line at a column."""
        return self.column - self.longest - 2 <= column <= self.column


class Scale(NamedTuple):
    """Which instant is at which column."""

    start: datetime
    end: datetime
    width: int

    def column(self, at: datetime) -> int:
        return round((at - self.start) / (self.end - self.start) * (self.width - 1))

    def columns(self, duration: timedelta) -> float:
        return duration / (self.end - self.start) * self.width


class Clock(NamedTuple):
    """Writes local times; with the day, where it is not that of the trigger."""

    zone: ZoneInfo
    first: datetime

    def text(self, at: datetime) -> str:
        local, first = at.astimezone(self.zone), self.first.astimezone(self.zone)
        if local.date() == first.date():
            return f"{local:%H:%M}"
        is_near = abs(local.date() - first.date()) < timedelta(days=7)
        return f"{local:%a %H:%M}" if is_near else f"{local.day} {local:%b %H:%M}"


def draw(story: Story, zone: ZoneInfo, width: int, glyphs: Glyphs) -> list[Line]:
    """The drawing of one case, `width` columns wide; times are local."""
    scale, clock = _scale(story, width - _GUTTER), Clock(zone, story.trigger.at)
    drawn: list[tuple[str, Row]] = [("", row) for row in _axis(scale, zone)]
    for name, rows in (
        ("where", _places(story, scale, glyphs)),
        ("happened", _happened(story, scale, clock, glyphs)),
        ("charted", _charted(story, scale, clock, glyphs)),
        ("alarm", _alarms(story, scale, clock, glyphs)),
    ):
        drawn += [(name if number == 0 else "", row) for number, row in enumerate(rows)]
    if story.due_at is not None:
        for _, row in drawn[2:]:
            column = scale.column(story.due_at)
            if row.is_free(column - 1, column + 2):
                row.put(column, glyphs.guide, "quiet")
    return [[(name.ljust(_GUTTER), "quiet"), *row.line()] for name, row in drawn]


def _scale(story: Story, width: int) -> Scale:
    """All that happened, a little before and after; from where the patient came into the place, if that was not long before."""
    moments = sorted(lanes(story))
    first, last = moments[0], moments[-1]
    span = max(last - first, timedelta(minutes=10))
    entered = [visit.entered_at for visit in story.places if first - 0.4 * span <= visit.entered_at <= first]
    start = entered[-1] if entered else first
    return Scale(start - 0.03 * span, last + 0.12 * span, width)


# Lanes


def _axis(scale: Scale, zone: ZoneInfo) -> list[Row]:
    """Days above, each where it begins; times below, unless they are too close."""
    step = next((each for each in _STEPS if scale.columns(each) >= _TICKS_APART), _STEPS[-1])
    midnight = scale.start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    days, hours = Row(scale.width), Row(scale.width)
    if scale.column(_local(midnight, timedelta(days=1))) >= _DAY_WIDTH:
        days.put(0, _day(midnight), "quiet")
    passed = timedelta(0)
    while (tick := _local(midnight, passed)) <= scale.end:
        column = scale.column(tick)
        if tick >= scale.start and column + 5 <= scale.width:
            if step < timedelta(days=1):
                hours.put(column, f"{tick.astimezone(zone):%H:%M}", "quiet")
            if passed % timedelta(days=1) == timedelta(0) and days.is_free(column - 1, column + _DAY_WIDTH):
                days.put(column, _day(tick.astimezone(zone)), "quiet")
        passed += step
    return [days, hours] if step < timedelta(days=1) else [days]


def _local(midnight: datetime, passed: timedelta) -> datetime:
    """The instant at which a local clock shows so much more than at a midnight."""
    return (midnight + passed).astimezone(UTC)


def _day(local: datetime) -> str:
    return f"{local:%a} {local.day} {local:%b}"


def _places(story: Story, scale: Scale, glyphs: Glyphs) -> list[Row]:
    bar = Row(scale.width)
    labels = []
    for number, visit in enumerate(story.places):
        start, end = scale.column(visit.entered_at), scale.column(visit.left_at or story.until)
        if end < 0 or start >= scale.width or visit.entered_at > story.until:
            continue
        start, end, style = max(start, 0), min(max(end, start + 1), scale.width), f"place{number % 2}"
        bar.fill(start, end, glyphs.bars[number % 2], style)
        name = f" {visit.place} "
        if end - start >= len(name) + 2:
            bar.put(start + 1, name, f"{style} name")
        else:
            labels.append(Label(start, ((visit.place, ""),)))
    return [bar, *_labelled(labels, scale.width, glyphs)] if not bar.is_free(0, scale.width) else []


def _happened(story: Story, scale: Scale, clock: Clock, glyphs: Glyphs) -> list[Row]:
    bar = Row(scale.width)
    trigger, came, due = story.trigger, story.came, story.due_at
    start = scale.column(trigger.at)
    marks: list[tuple[datetime, str, str, str]] = [(trigger.at, glyphs.start, trigger.what, "strong")]
    last = came.at if came is not None else story.ended_at or story.until
    if due is not None:
        deadline, end = scale.column(due), scale.column(min(last, scale.end))
        bar.fill(start, min(deadline, end), glyphs.allowed, "met")
        bar.fill(end, deadline, glyphs.spare, "quiet")
        _fill_named(bar, deadline, end, glyphs.late, "overrun", _late_words(story))
        until = "watched until here" if story.verdict == "violated" else "deadline"
        marks.append((due, glyphs.deadline, until, "strong"))
    elif came is not None:
        bar.fill(start, scale.column(came.at), glyphs.allowed, "met")
    if came is not None:
        style = "met" if story.verdict == "met" else "bad"
        marks.append((came.at, glyphs.came, came.what, style))
    elif story.ended_at is not None:
        words = (
            "nothing recorded; no longer waited for"
            if story.reason == "gave_up"
            else "nothing recorded before this"
        )
        marks.append((story.ended_at, glyphs.nothing, words, "bad"))
    for at, char, _, style in marks:
        bar.put(scale.column(at), char, style)
    said = [(at, f"{clock.text(at)} {words}", style) for at, _, words, style in marks]
    return [bar, *_labelled(_grouped(said, scale), scale.width, glyphs)]


def _late_words(story: Story) -> str:
    if story.care_delay_seconds is None:
        return ""
    delay = spoken(story.care_delay_seconds)
    return f"{delay} late" if story.came is not None else f"{delay}, not recorded"


def _charted(story: Story, scale: Scale, clock: Clock, glyphs: Glyphs) -> list[Row]:
    """When what came was charted, sent, and understood; no lane where that was soon enough."""
    came = story.came
    if came is None:
        return []
    steps = [(came.charted_at, "charted")]
    if came.known_at - came.charted_at >= MATERIAL:
        steps.append((came.known_at, "sent by the feed"))
    if story.settled_at is not None and story.settled_at - came.known_at >= MATERIAL:
        steps.append((story.settled_at, "put right in the record"))
    if steps[-1][0] - came.at < MATERIAL:
        return []
    bar = Row(scale.width)
    happened, known = scale.column(came.at), scale.column(steps[-1][0])
    words = f"{spoken((steps[-1][0] - came.at).total_seconds())} until {steps[-1][1]}"
    _fill_named(bar, happened, known, glyphs.charting, "charting", words)
    bar.put(happened, glyphs.came, "met" if story.verdict == "met" else "bad")
    for at, _ in steps:
        bar.put(scale.column(at), glyphs.charted, "charting")
    said = [(at, f"{clock.text(at)} {what}", "charting") for at, what in steps]
    return [bar, *_labelled(_grouped(said, scale), scale.width, glyphs)]


def _alarms(story: Story, scale: Scale, clock: Clock, glyphs: Glyphs) -> list[Row]:
    if not story.alarms:
        return []
    bar = Row(scale.width)
    ends = [alarm.at for alarm in story.alarms[1:]] + [min(story.until, scale.end)]
    for alarm, end in zip(story.alarms, ends, strict=True):
        if alarm.state == "firing":
            early = alarm.level < 0
            char, style = (glyphs.warned, "warning") if early else (glyphs.alarmed, "alarm")
            bar.fill(scale.column(alarm.at), scale.column(end), char, style)
    said = []
    for alarm in story.alarms:
        char, words, style = _alarm_words(alarm, story, glyphs)
        bar.put(scale.column(alarm.at), char, style)
        said.append((alarm.at, f"{clock.text(alarm.at)} {words}", style))
    return [bar, *_labelled(_grouped(said, scale), scale.width, glyphs)]


def _alarm_words(alarm: Alarm, story: Story, glyphs: Glyphs) -> tuple[str, str, str]:
    if alarm.state != "firing" and story.reason == "gave_up":
        return glyphs.ends, "given up: still not recorded", "quiet"
    if alarm.state != "firing":
        return glyphs.ends, f"ends: {_ENDS.get(alarm.reason or '', alarm.reason or '')}", "quiet"
    if alarm.level < 0:
        return glyphs.warning, f"warning to {alarm.role}", "warning"
    return glyphs.alarm, f"{'alarm' if alarm.level == 0 else 'also'} to {alarm.role}", "alarm"


# Parts


def _fill_named(bar: Row, start: int, end: int, char: str, style: str, name: str) -> None:
    """A stretch, the first column of which is a mark, with its name in the middle where there is room."""
    bar.fill(start, end, char, style)
    room = end - start - 1
    if name and len(name) + 2 <= room:
        bar.put(start + 1 + (room - len(name) - 2) // 2, f" {name} ", f"{style} name")


def _grouped(said: Sequence[tuple[datetime, str, str]], scale: Scale) -> list[Label]:
    """The marks of one column share a label, in order of time."""
    found: dict[int, Label] = {}
    for at, text, style in sorted(said, key=lambda each: each[0]):
        column = min(max(scale.column(at), 0), scale.width - 1)
        before = found.get(column, Label(column, ()))
        found[column] = Label(column, (*before.texts, (text, style)))
    return list(found.values())


def _labelled(labels: Sequence[Label], width: int, glyphs: Glyphs) -> list[Row]:
    """Rows with a line from each mark down to its label.

    Labels run to the right of their lines, those further left lower, so that nothing crosses. Near the right edge
    they run to the left instead, those further right lower. A label that is too long to end before the line of one of
    these hangs below them, if its own line can pass.
    """
    leftward = _leftward(labels, width)
    nearest = min((each.column for each in leftward), default=width)
    rows: list[Row] = []
    below: list[Label] = []
    for label in sorted(labels, key=lambda each: -each.column):
        if label in leftward:
            continue
        room = nearest - label.column - 3
        in_the_way = any(each.covers(label.column) for each in leftward)
        if below or room < _LEAST or (label.longest > room and not in_the_way):
            below.append(label)
        else:
            _hang(rows, label, room, width, glyphs, left=False)
    for label in sorted(leftward, key=lambda each: each.column):
        _hang(rows, label, label.column - 1, width, glyphs, left=True)
    for label in below:
        _hang(rows, label, width - label.column - 2, width, glyphs, left=False)
    return rows


def _leftward(labels: Sequence[Label], width: int) -> list[Label]:
    """The labels that must run to the left: they have no room at the right, or would stand in the way of one that has none."""
    found: list[Label] = []
    for label in sorted(labels, key=lambda each: -each.column):
        room = min((each.column for each in found), default=width) - label.column - 3
        if label.longest > room and label.column - 1 >= min(label.longest, room):
            found.append(label)
    return found


def _hang(rows: list[Row], label: Label, room: int, width: int, glyphs: Glyphs, *, left: bool) -> None:
    """Put a label on the first rows that are free where it and its line would be; a text that is too long goes on below."""
    texts = [
        (clipped(part, room, glyphs), style, number == 0)
        for text, style in label.texts
        for number, part in enumerate(
            wrap(text, max(room, 1), break_long_words=False, break_on_hyphens=False)
        )
    ]
    firsts = len(label.texts)
    column, height, longest = label.column, len(texts), max(len(text) for text, *_ in texts)
    start, end = (column - longest - 2, column + 1) if left else (column, column + longest + 3)
    top = 0
    while True:
        while len(rows) < top + height:
            rows.append(Row(width))
        if all(row.is_free(start, end) for row in rows[top : top + height]):
            break
        top += 1
    for row in rows[:top]:
        # where a crowd of labels is in the way, their texts matter more
        if row.is_free(column, column + 1):
            row.put(column, glyphs.down, "quiet")
    last = glyphs.corner_left if left else glyphs.corner
    more = glyphs.tee_left if left else glyphs.tee
    for row, (text, style, is_first) in zip(rows[top : top + height], texts, strict=True):
        firsts -= is_first
        if is_first:
            row.put(column, more if firsts else last, "quiet")
        elif firsts:
            row.put(column, glyphs.down, "quiet")
        row.put(column - len(text) - 1 if left else column + 2, text, style)
