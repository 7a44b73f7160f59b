"""A journey as people write it down, and what rules make of it.

A line is a day and time, a type of event, where the patient went and attributes: `Mon 09:15 transfer ed -> ward-4w`.
`id=`, `encounter=`, `cancels=`, `replaces=` and `recorded=` (a day and time joined by `_`) are fields of the event;
`patient=` is another patient. `now` only moves the clock. The week begins on Monday, 3 March 2025; `Mon+4` is four weeks
later, when summer time has begun. Times are UTC.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.core.event import Event
from monitor.core.rule import CaseRule
from monitor.rulefile.load import load_registry, load_rules
from monitor.runtime.output import duration_text
from monitor.runtime.replay import arrange, replay

PROJECT = Path(__file__).parents[2]
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONDAY = datetime(2025, 3, 3, tzinfo=UTC)
FIELDS = ("id", "patient", "encounter", "cancels", "replaces")


def registry():
    path = PROJECT / "rules" / "microsystems.yaml"
    found, problems = load_registry(path.name, path.read_bytes())
    assert problems == []
    return found


def rules(text, known):
    """The rules that open cases."""
    return [rule for rule in all_rules(text, known) if isinstance(rule, CaseRule)]


def all_rules(text, known):
    found, problems = load_rules([("rules.yaml", text.encode())], known)
    assert problems == []
    return found


def pack_text(name):
    return (PROJECT / "rules" / f"{name}.yaml").read_text(encoding="utf-8")


def pack(name, known):
    return rules(pack_text(name), known)


def moment(day, time):
    name, _, weeks = day.partition("+")
    hour, _, minute = time.partition(":")
    days = timedelta(weeks=int(weeks or 0), days=DAYS.index(name))
    return MONDAY + days + timedelta(hours=int(hour), minutes=int(minute))


def shown(at):
    return f"{DAYS[(at - MONDAY).days % 7]} {at:%H:%M}"


def attribute(text):
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text


def event(number, line):
    day, time, kind, *rest = line.split()
    pairs = dict(word.split("=", 1) for word in rest if "=" in word)
    places = " ".join(word for word in rest if "=" not in word)
    before, arrow, after = places.partition("->")
    at = moment(day, time)
    recorded = pairs.pop("recorded", None)
    fields = {name: pairs.pop(name) for name in FIELDS if name in pairs}
    return Event(
        **{"id": str(number), "patient": "p", **fields},
        type=kind,
        occurred_at=at,
        recorded_at=moment(*recorded.split("_")) if recorded else at,
        from_=before.strip() or None,
        to=after.strip() or None if arrow else None,
        attributes={name: attribute(value) for name, value in pairs.items()},
    )


def outcome(found, known, text):
    """What a replay of the journey gives."""
    lines = [line for line in text.strip().splitlines() if line]
    moved = [line for line in lines if line.split()[2] == "now"]
    events = [event(number, line) for number, line in enumerate(lines, start=1) if line not in moved]
    until = moment(*moved[-1].split()[:2]) if moved else None
    taken = arrange(events, until=until, now=datetime(2026, 1, 1, tzinfo=UTC))
    return replay(found, known, taken)


def verdicts(found, known, text):
    """A line for each case: when its trigger was, its rule, its verdict, and how late or why."""
    return [line_of(case) for case in outcome(found, known, text).verdicts]


def line_of(case):
    rule = case.rule if case.step is None else f"{case.rule}/{case.step}"
    words = [shown(case.trigger_at), rule, case.verdict]
    if case.overdue:
        words.append("overdue")
    if case.delay_seconds is not None:
        words.append(f"by {duration_text(case.delay_seconds)}")
    if case.reason is not None:
        words.append(f"({case.reason})")
    return " ".join(words)


def alerts(found, known, text):
    """A line for each change of an alert: when, its rule, its state and level, and why."""
    lines = []
    for change in outcome(found, known, text).alerts:
        reason = f" ({change.reason})" if change.reason else ""
        lines.append(f"{shown(change.at)} {change.rule} {change.state} {change.level}{reason}")
    return lines
