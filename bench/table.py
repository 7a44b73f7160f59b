"""The results as one table: ratios, and whether they keep the budgets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bench.decode import BASE, DECODERS
from bench.measure import Taken
from bench.plan import BY_THE_CLOCK, DISORDER, OPEN, PEERS, PLACES, RULES, named

COLUMNS = ("what", "of the base", "ratio", "must", "goal", "held")


class Budget(NamedTuple):
    """What a ratio must be, and what is hoped for: at least, or at most where `must` is the larger."""

    must: float
    goal: float

    def held(self, ratio: float) -> str:
        """Which of the two was kept: `goal`, `must` or `no`."""
        sign = 1 if self.goal > self.must else -1
        if sign * ratio >= sign * self.goal:
            return "goal"
        return "must" if sign * ratio >= sign * self.must else "**no**"


REPLAY = Budget(0.12, 0.25)
DORMANT = Budget(1.15, 1.05)
SPREAD = Budget(1.6, 1.4)
OPEN_COST = Budget(1.4, 1.25)
OPEN_MEMORY = Budget(2.5, 1.0)
TWO_JOBS = Budget(1.5, 1.8)
DISORDERLY = Budget(0.6, 0.8)
AGAINST = {
    "script": Budget(1.3, 2.4),
    "duckdb": Budget(0.25, 1),
    "polars": Budget(0.25, 1),
    "bytewax": Budget(2, 3),
    "behave_rv": Budget(10, 20),
    "flink": Budget(5, 10),
}
NAMES = {
    "script": "a hand-written script (dict, heapq, orjson)",
    "duckdb": "DuckDB, SQL with the rules as a table, 2 threads",
    "polars": "Polars, 2 threads",
    "bytewax": "Bytewax",
    "behave_rv": "behave-rv",
    "flink": "Flink SQL",
}


class Row(NamedTuple):
    """What was measured; its speed as a share of the base; a ratio, of what the section says, and its budget."""

    what: str
    share: float | None
    ratio: float | None = None
    budget: Budget | None = None
    unit: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The columns as text."""
        share = "" if self.share is None else f"{self.share:.3f}"
        ratio = "" if self.ratio is None else f"{self.ratio:,.3g}{self.unit}"
        if self.budget is None or self.ratio is None:
            return self.what, share, ratio, "", "", ""
        must, goal = (f"{each:,g}{self.unit}" for each in self.budget)
        return self.what, share, ratio, must, goal, self.budget.held(self.ratio)


class Section(NamedTuple):
    """A part of the table; `ratio` says what its ratios are."""

    title: str
    ratio: str
    rows: list[Row]


class Results:
    """What was measured, by name; what was not is passed over."""

    def __init__(self, taken: Mapping[str, Taken]) -> None:
        self.taken = taken
        self.base = taken[f"decode {BASE}"]

    def has(self, *names: str) -> bool:
        return all(name in self.taken for name in names)

    def share(self, name: str) -> float | None:
        """Its speed as a share of that of the base, by processor time."""
        return self.base.each / self.taken[name].each if name in self.taken else None

    def cost(self, name: str, of: str) -> float:
        """What an event costs, as a multiple of what it costs in another measure."""
        return self.taken[name].each / self.taken[of].each

    def row(
        self, what: str, name: str, ratio: float | None = None, budget: Budget | None = None
    ) -> list[Row]:
        return [Row(what, self.share(name), ratio, budget)] if self.has(name) else []

    def compared(self, what: str, name: str, of: str, budget: Budget | None) -> list[Row]:
        """A row with what an event costs beside another measure."""
        if not self.has(name):
            return []
        ratio = self.cost(name, of) if self.has(of) else None
        return [Row(what, self.share(name), ratio, budget if name != of else None)]


def sections(results: Results) -> list[Section]:
    """The table, of what was measured."""
    found = [_decode(results), _replay(results), _rules(results), _places(results)]
    found += [_open(results), _memory(results), _disorder(results), _hospital(results), _peers(results)]
    return [section for section in found if section.rows]


def _decode(results: Results) -> Section:
    rows = [row for each in DECODERS for row in results.row(each, f"decode {each}")]
    return Section("Decode: one pass over the file, each line decoded and dropped", "", rows)


def _replay(results: Results) -> Section:
    rows: list[Row] = []
    for what, name in (("`handoff replay`, the whole program", "program"), ("the same in process", "replay")):
        rows += results.row(what, name, results.share(name), REPLAY)
    if results.has("program", "2 jobs"):
        ratio = results.taken["program"].wall / results.taken["2 jobs"].wall
        rows.append(Row("`--jobs 2`: times as fast by the clock", None, ratio, TWO_JOBS))
    return Section(
        "Replay of the ten rules, decode included", "speed, of the base; with two jobs, of one", rows
    )


def _rules(results: Results) -> Section:
    rows = []
    for number in RULES:
        budget = DORMANT if number == RULES[-1] else None
        what = (
            f"the first {number} of them"
            if number <= 10
            else f"10 rules and {number - 10:,} that never match"
        )
        rows += results.compared(what, f"rules {number}", "rules 10", budget)
    return Section(
        "Dormant rules on the same places; the engine alone", "cost of an event, to 10 rules", rows
    )


def _places(results: Results) -> Section:
    rows = []
    for number in PLACES:
        budget = SPREAD if number == PLACES[-1] else None
        what = "1 place, 1 rule" if number == 1 else f"{number:,} places, a rule for each"
        rows += results.compared(what, f"places {number}", "places 1", budget)
    return Section("Rules spread over places; the engine alone", "cost of an event, to 1 place", rows)


def _open(results: Results) -> Section:
    rows = []
    for number in OPEN:
        budget = OPEN_COST if number == OPEN[-1] else None
        rows += results.compared(f"{number:,} open", f"open {number}", f"open {OPEN[0]}", budget)
    return Section("Open journeys; `observe` alone", f"cost of an event, to {OPEN[0]:,} open", rows)


def _memory(results: Results) -> Section:
    if not results.has("memory"):
        return Section("", "", [])
    facts = results.taken["memory"].facts
    rows = [
        Row("all that is held while events come", None, facts["bytes"] / 1000, OPEN_MEMORY, " kB"),
        Row("its events alone, as decoded", None, facts["bytes of events as decoded"] / 1000, None, " kB"),
        Row("folded, once it is quiet", None, facts["bytes when folded"] / 1000, OPEN_MEMORY, " kB"),
    ]
    return Section("Memory of an open journey of eight facts (tracemalloc)", "size", rows)


def _disorder(results: Results) -> Section:
    rows = []
    for how in ("recalled", "lived"):
        in_order = named(0, 0, how)
        for disorder, cancels in DISORDER:
            name = named(disorder, cancels, how)
            if results.has(name, in_order):
                what = f"{how}: {disorder:.0%} out of order, {cancels:.0%} cancels"
                budget = DISORDERLY if disorder and cancels else None
                rows += results.row(what, name, 1 / results.cost(name, in_order), budget)
    return Section(
        "Disorder and cancels; decode included. Recalled: for verdicts; lived: for alerts",
        "speed, to that in order",
        rows,
    )


def _hospital(results: Results) -> Section:
    rows = []
    for how in ("recalled", "lived"):
        if results.has(f"hospital {how}", "hospital decode"):
            share = 1 / results.cost(f"hospital {how}", "hospital decode")
            rows.append(Row(f"`handoff replay`, {how}", share))
    return Section("A simulated network, all rule packs; the base is the decode of its own log", "", rows)


def _peers(results: Results) -> Section:
    """Speeds beside those of others; whether these are exact is in `exactness`."""
    rows = []
    for peer in PEERS:
        name = f"peer {peer}"
        ours = "2 jobs" if peer in ("duckdb", "polars") else f"beside {peer}"
        if not results.has(name, ours):
            continue
        share, ratio = results.share(name), results.cost(name, ours)
        if peer in BY_THE_CLOCK:
            taken, us = results.taken[name], results.taken[ours]
            share = results.base.each_by_the_clock / taken.each_by_the_clock
            ratio = taken.each_by_the_clock / us.each_by_the_clock
        rows.append(Row(NAMES[peer], share, ratio, AGAINST[peer]))
    return Section("Others, decode included", "how many times as fast we are", rows)


def exactness(taken: Mapping[str, Taken]) -> str:
    """What each peer covers, and whether its verdicts are ours, as a table."""
    lines = [("others", "events", "rules and steps covered", "cases compared", "not as ours")]
    lines.append(("---",) * 5)
    for peer in PEERS:
        if f"peer {peer}" not in taken:
            continue
        of = taken[f"peer {peer}"]
        covers = of.facts["covers"]
        covered = "all" if covers == "all" else ", ".join(f"`{each}`" for each in covers)
        lines.append(
            (NAMES[peer], f"{of.events:,}", covered, f"{of.facts['cases']:,}", f"{of.facts['differing']:,}")
        )
    return "\n".join(map(_piped, lines)) + "\n" if len(lines) > 2 else ""


def text(found: Iterable[Section]) -> str:
    """The table for a terminal."""
    found = list(found)
    cells = [row.cells for section in found for row in section.rows]
    widths = [max(len(row[column]) for row in [COLUMNS, *cells]) for column in range(len(COLUMNS))]
    lines = [_aligned(COLUMNS, widths)]
    for section in found:
        ratio = f" (ratio: {section.ratio})" if section.ratio else ""
        lines += ["", section.title + ratio, *(_aligned(row.cells, widths) for row in section.rows)]
    return "\n".join(lines).replace("**", "") + "\n"


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *others = (
        cell.ljust(width) if number == 0 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([f"  {first}", *others]).rstrip()


def markdown(found: Iterable[Section]) -> str:
    """The table for the reference: one for each section."""
    parts = []
    for section in found:
        columns = (section.title, "speed, of the base", section.ratio or "ratio", "must", "goal", "held")
        parts.append(
            "\n".join(map(_piped, [columns, ("---",) * len(columns), *(r.cells for r in section.rows)]))
        )
    return "\n\n".join(parts) + "\n"


def _piped(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
