"""What people read of an alert: what did not happen, for whom, since when, how late, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from monitor.notify.notice import Identifiers, Notice

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))

_ENDS: Final[dict[str, tuple[str, str]]] = {
    "met": ("resolved", "it came in time"),
    "late": ("resolved", "it came"),
    "charted_late": ("false alarm", "it was in time, and charted late"),
    "void": ("resolved", "it is no longer owed"),
    "withdrawn": (
        "withdrawn",
        "this alert was wrong: the event it rests on was cancelled or corrected, or the rule was changed",
    ),
    "missed": ("closed", "it never came, and is not waited for any more"),
    "expired": ("closed", "it happened and stands in the record; it is not shown any more"),
    "heard": ("resolved", "it is heard again"),
}
"""By reason of the resolution (contract, section 6): a word for it, and what it means."""


def shown(notice: Notice, identifiers: Identifiers) -> Notice:
    """The notice without what its reader may not see, and with its link made whole.

    `full` sees all; `bed` a pseudonym, and the place with room and bed; `none` the place alone: of raw locations the point of
    care, and no link to the journey.
    """
    if identifiers == "full":
        return msgspec.structs.replace(notice, link=_link(notice))
    seen = msgspec.structs.replace(notice, patient="", encounter=None)
    if identifiers == "none":
        seen = msgspec.structs.replace(
            seen,
            pseudonym="",
            location=None,
            place=_point_of_care(seen.place),
            from_=_point_of_care(seen.from_),
            to=_point_of_care(seen.to),
        )
    return msgspec.structs.replace(seen, link=_link(seen))


def subject(notice: Notice) -> str:
    """A heading; it never tells who the patient is, for headings show on locked screens and in the logs of mail servers."""
    place = _place(shown(notice, "none"))
    return _one_line(f"[{_state(notice)}] {place + ': ' if place else ''}{notice.summary}")


def line(notice: Notice, identifiers: Identifiers) -> str:
    """Everything that matters, in one line."""
    seen = shown(notice, identifiers)
    where = ", ".join(part for part in (_place(seen), _bed(seen), _patient(seen)) if part)
    parts = [f"[{_state(seen)}] {where + ': ' if where else ''}{seen.summary}"]
    if seen.state == "resolved":
        parts.append(_meaning(seen))
    elif (due_at := _due_at(seen)) is not None:
        parts.append(f"due {moment(due_at, seen.timezone)}{_and_late(seen)}")
    if seen.state == "firing" and seen.action:
        parts.append(f"to do: {seen.action}")
    return _one_line("; ".join(parts))


def plain(notice: Notice, identifiers: Identifiers) -> str:
    """All of it as plain text, over several lines."""
    seen = shown(notice, identifiers)
    rows = _rows(seen)
    width = max(len(name) for name, _ in rows) + 1
    told = [_opening(seen), _one_line(seen.summary), ""]
    return "\n".join(told + [f"{name + ':':<{width}} {value}" for name, value in rows]) + "\n"


def html(notices: Sequence[Notice], identifiers: Identifiers) -> str:
    """Several, as one page; everything in it is escaped."""
    parts = [_section(shown(notice, identifiers)) for notice in notices]
    return (
        f'<!DOCTYPE html><html><head><meta charset="utf-8"></head><body>{"<hr>".join(parts)}</body></html>\n'
    )


def moment(at: datetime, timezone: str) -> str:
    """A moment as people at the place read it: `Tue 6 Jan 2026 18:43 GMT`."""
    local = at.astimezone(ZoneInfo(timezone))
    day = f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local.year}"
    return f"{day} {local:%H:%M} {local.tzname()}"


def duration(seconds: float) -> str:
    """A length of time in at most two units, rounded down: `2 h 5 min`."""
    left = int(abs(seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "less than a minute"


def _section(notice: Notice) -> str:
    rows = [
        f"<tr><th align=left>{escape(name)}</th><td>{_cell(value)}</td></tr>" for name, value in _rows(notice)
    ]
    summary = escape(_one_line(notice.summary))
    return (
        f"<p>{escape(_opening(notice))}<br><b>{summary}</b></p><table cellpadding=3>{''.join(rows)}</table>"
    )


def _cell(value: str) -> str:
    if value.startswith(("https://", "http://")):
        return f'<a href="{escape(value)}">{escape(value)}</a>'
    return escape(value)


def _rows(notice: Notice) -> list[tuple[str, str]]:
    """What there is to tell of a notice as `shown`: names and values, each value one line."""
    rows: list[tuple[str, str | None]] = [
        ("Patient", _patient(notice)),
        ("Place", ", ".join(part for part in (_place(notice), _bed(notice)) if part)),
        ("From", notice.from_),
        ("To", notice.to),
        ("Since", _at(notice.trigger_at, notice)),
        ("Due", _at(_due_at(notice), notice)),
        ("Time left", _left(notice)),
        ("Late by", _late(notice)),
        ("Told at", moment(notice.at, notice.timezone)),
        ("Note", "told late: the monitor was not running at that time" if notice.after_outage else None),
        ("What to do", notice.action if notice.state == "firing" else None),
        ("Owner", notice.owner),
        ("Rule", notice.rule if notice.step is None else f"{notice.rule}, step {notice.step}"),
        *sorted(notice.annotations.items()),
        ("Runbook", notice.runbook),
        ("More", notice.link),
    ]
    return [(name, _one_line(value)) for name, value in rows if value]


def _opening(notice: Notice) -> str:
    """The state as a sentence."""
    if notice.state == "resolved":
        return _sentence(f"{_word(notice)}: {_meaning(notice)}")
    if notice.level < 0:
        return _sentence("early warning: this is not late yet")
    if notice.level == 0:
        return _sentence(f"{notice.severity} alert")
    return _sentence(f"{notice.severity} alert, escalated to level {notice.level}")


def _state(notice: Notice) -> str:
    """The state in a few words."""
    if notice.state == "resolved":
        late = notice.reason == "late" and notice.delay_seconds is not None
        return f"{_word(notice)}, {duration(notice.delay_seconds or 0)} late" if late else _word(notice)
    if notice.level < 0:
        return "early warning"
    return notice.severity if notice.level == 0 else f"{notice.severity}, level {notice.level}"


def _word(notice: Notice) -> str:
    return _ENDS.get(notice.reason or "", ("resolved", ""))[0]


def _meaning(notice: Notice) -> str:
    """Why it resolved, as a part of a sentence."""
    _, meaning = _ENDS.get(notice.reason or "", ("", notice.reason or "it is over"))
    if notice.reason == "late" and notice.delay_seconds is not None:
        return f"{meaning}, {duration(notice.delay_seconds)} late"
    return meaning


def _at(at: datetime | None, notice: Notice) -> str | None:
    return None if at is None else moment(at, notice.timezone)


def _due_at(notice: Notice) -> datetime | None:
    """The deadline. What fires before it, and not to warn, is a violation, of which nothing is due."""
    is_violation = notice.state == "firing" and notice.level >= 0 and _before(notice.at, notice.due_at)
    return None if is_violation else notice.due_at


def _late(notice: Notice) -> str | None:
    due_at = _due_at(notice)
    if notice.state == "resolved":
        is_late = notice.reason == "late" and notice.delay_seconds is not None
        return duration(notice.delay_seconds or 0) if is_late else None
    if due_at is None or notice.level < 0:
        return None
    return f"{duration((notice.at - due_at).total_seconds())}, and still open"


def _left(notice: Notice) -> str | None:
    is_early = notice.state == "firing" and notice.level < 0 and _before(notice.at, notice.due_at)
    return duration((notice.due_at - notice.at).total_seconds()) if is_early and notice.due_at else None


def _and_late(notice: Notice) -> str:
    left, late = _left(notice), _late(notice)
    if left:
        return f", in {left}"
    return f", late by {late}" if late else ""


def _before(at: datetime, due_at: datetime | None) -> bool:
    return due_at is not None and at < due_at


def _patient(notice: Notice) -> str:
    if notice.patient:
        return f"{notice.patient}, visit {notice.encounter}" if notice.encounter else notice.patient
    return f"pseudonym {notice.pseudonym}" if notice.pseudonym else ""


def _place(notice: Notice) -> str:
    return notice.place_name or notice.place or ""


def _bed(notice: Notice) -> str:
    """The raw location in words: point of care, room and bed of an HL7 PL, or as it is."""
    if notice.location is None or notice.location in (notice.place, notice.place_name):
        return ""
    point_of_care, room, bed, *_ = [*notice.location.split("^"), "", ""]
    return ", ".join(part for part in (point_of_care, room and f"room {room}", bed and f"bed {bed}") if part)


def _point_of_care(place: str | None) -> str | None:
    """A place that no microsystem owns keeps its raw name, which may go down to the bed."""
    return None if place is None else place.partition("^")[0]


def _link(notice: Notice) -> str | None:
    """The address made whole; none where it would lead to a journey that the reader may not know."""
    if notice.link is None or ("{journey}" in notice.link and not notice.pseudonym):
        return None
    return notice.link.replace("{alert}", notice.alert).replace("{journey}", notice.pseudonym)


def _one_line(value: str) -> str:
    """Without line ends and other control characters, which could forge lines and headers."""
    return " ".join("".join(each if each.isprintable() else " " for each in value).split())


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
