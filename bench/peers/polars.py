"""Polars: the rules as data, data frames over the finished log, two threads.

The same joins as in SQL: to each trigger the next (or last) event that is looked for, and the next that makes it void.
Nothing here knows cancels, corrections or `overlap`, and there are no alerts: the log is over.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Final, NamedTuple

os.environ["POLARS_MAX_THREADS"] = "2"

import polars as pl

from bench.measure import Taken, timed

COVERS: Final = "all"

DAY: Final = timedelta(days=1)
TEXTS: Final = ("id", "type", "patient", "encounter", "occurred_at", "recorded_at", "from", "to")
MOMENT: Final = "%Y-%m-%dT%H:%M:%SZ"


class Wanted(NamedTuple):
    """Which events are meant."""

    types: list[str]
    from_: str | None = None
    to: str | None = None

    @property
    def holds(self) -> pl.Expr:
        tests = [pl.col("type").is_in(self.types)]
        if self.from_ is not None:
            tests.append(pl.col("from") == self.from_)
        if self.to is not None:
            tests.append(pl.col("to") == self.to)
        return pl.all_horizontal(tests)


class Expect(NamedTuple):
    """A rule of form expect, or a stay: who comes in must leave."""

    rule: str
    when: Wanted | None
    """None: the case begins where `after` was answered."""
    expect: Wanted
    within: timedelta
    unless: list[str] = []
    give_up: timedelta = DAY
    after: str | None = None


EXPECTED: Final = (
    Expect("triage", Wanted(["register"], to="ed"), Wanted(["triage"]), timedelta(minutes=15), ["discharge"], timedelta(hours=4)),
    Expect("boarding", Wanted(["decision_to_admit"]), Wanted(["admit", "transfer"], "ed"), timedelta(hours=4), ["discharge"]),
    Expect("four-hours", Wanted(["register"], to="ed"), Wanted(["transfer", "discharge"], "ed"), timedelta(hours=4), [], 1000 * DAY),
    Expect("icu-bed", Wanted(["pending_transfer"], to="icu"), Wanted(["transfer"], to="icu"), timedelta(hours=2), ["discharge"]),
    Expect("home/summary", Wanted(["pending_discharge"]), Wanted(["summary_sent"]), timedelta(hours=3)),
    Expect("home/left", None, Wanted(["discharge"]), timedelta(hours=3), after="home/summary"),
)  # fmt: skip


def verdicts(path: str) -> pl.DataFrame:
    """The verdict of each case of the ten rules, by rule and trigger."""
    events = (
        pl.scan_ndjson(path, schema=dict.fromkeys(TEXTS, pl.String))
        .with_columns(pl.col("occurred_at", "recorded_at").str.to_datetime(MOMENT))
        .filter(~pl.col("type").is_in(["vitals", "note", "lab", "medication"]))
        .sort("occurred_at")
        .collect()
    )
    until = pl.lit(events["recorded_at"].max())
    icu_exits = events.filter(Wanted(["transfer"], "icu").holds)
    parts = [*_expected(events, until), *_around_icu(events, icu_exits, until), _moves(events)]
    parts.append(_two_places(events, until))
    return pl.concat([part.select("rule", "id", "verdict") for part in parts])


def _expected(events: pl.DataFrame, until: pl.Expr) -> list[pl.DataFrame]:
    answered: dict[str, pl.DataFrame] = {}
    for rule in EXPECTED:
        cases = (
            events.filter(rule.when.holds).select("id", "encounter", at="occurred_at")
            if rule.when
            else answered[rule.after or ""]
            .filter(pl.col("q").is_not_null())
            .select("id", "encounter", at="q")
        ).sort("at")
        answered[rule.rule] = _next(cases, events.filter(rule.expect.holds), "q", "encounter")
    return [_judged(rule, answered[rule.rule], events, until) for rule in EXPECTED]


def _judged(rule: Expect, cases: pl.DataFrame, events: pl.DataFrame, until: pl.Expr) -> pl.DataFrame:
    cases = _next(cases, events.filter(pl.col("type").is_in(rule.unless)), "r", "encounter")
    q, r, due = pl.col("q"), pl.col("r"), pl.col("at") + rule.within
    vetoed = r.is_not_null() & (q.is_null() | (r < q))
    verdict = (
        pl.when(vetoed & (r <= due)).then(pl.lit("void"))
        .when(q <= due).then(pl.lit("met"))
        .when(vetoed).then(pl.lit("missed"))
        .when(q.is_not_null()).then(pl.lit("late"))
        .when(until > due + rule.give_up).then(pl.lit("missed"))
        .otherwise(pl.lit("open"))
    )  # fmt: skip
    return cases.with_columns(rule=pl.lit(rule.rule), verdict=verdict)


def _next(cases: pl.DataFrame, wanted: pl.DataFrame, name: str, by: str, **how: bool) -> pl.DataFrame:
    """The cases with the time of the next event that is wanted, of the same journey."""
    found = wanted.select(by, pl.col("occurred_at").alias(name))
    return cases.join_asof(
        found,
        left_on="at",
        right_on=name,
        by=by,
        strategy="forward",
        coalesce=False,
        check_sortedness=False,
        **how,
    )


def _around_icu(events: pl.DataFrame, exits: pl.DataFrame, until: pl.Expr) -> list[pl.DataFrame]:
    """What must precede a way out of intensive care, what must not follow it, and when it must not be."""
    cases = exits.select("id", "encounter", "patient", at="occurred_at")
    signed = events.filter(pl.col("type") == "handoff_signed").select("encounter", q="occurred_at")
    before = cases.join_asof(
        signed, left_on="at", right_on="q", by="encounter", coalesce=False, check_sortedness=False
    )
    was_signed = (pl.col("q") >= pl.col("at") - timedelta(hours=12)).fill_null(value=False)
    back = events.filter(Wanted(["transfer"], to="icu").holds)
    after = _next(cases, back, "q", "patient", allow_exact_matches=False)
    due = pl.col("at") + 2 * DAY
    bounced = (
        pl.when(pl.col("q") <= due).then(pl.lit("violated"))
        .when(until > due).then(pl.lit("met"))
        .otherwise(pl.lit("open"))
    )  # fmt: skip
    hour = pl.col("at").dt.hour()
    return [
        before.with_columns(
            rule=pl.lit("signed"),
            verdict=pl.when(was_signed).then(pl.lit("met")).otherwise(pl.lit("violated")),
        ),
        after.with_columns(rule=pl.lit("bounced"), verdict=bounced),
        cases.filter((hour >= 22) | (hour < 7)).with_columns(
            rule=pl.lit("night-move"), verdict=pl.lit("violated")
        ),
    ]


def _moves(events: pl.DataFrame) -> pl.DataFrame:
    moves = events.filter(pl.col("type") == "transfer")
    return (
        moves.with_columns(
            number=pl.col("id").count().rolling(index_column="occurred_at", period="24h").over("encounter")
        )
        .filter(pl.col("number") == 4)
        .with_columns(rule=pl.lit("moves"), verdict=pl.lit("violated"))
    )


def _two_places(events: pl.DataFrame, until: pl.Expr) -> pl.DataFrame:
    twice = events.filter(pl.col("type") == "admit").select("patient").unique()
    side = (
        pl.when(pl.col("to") == "ed")
        .then(pl.lit("ed"))
        .when(pl.col("to").str.starts_with("ward-"))
        .then(pl.lit("ward"))
    )
    moved = side.ne_missing(side.shift(1).over("encounter"))
    never = pl.lit(events["occurred_at"].max()) + 1000 * DAY
    stays = (
        events.filter(pl.col("type").is_in(["register", "admit", "transfer", "discharge"]))
        .join(twice, on="patient", how="semi", maintain_order="left")
        .with_columns(side=side, moved=moved)
        .filter("moved")
        .with_columns(left_at=pl.col("occurred_at").shift(-1).over("encounter").fill_null(never))
        .filter(pl.col("side").is_not_null())
    )
    pairs = stays.join(stays, on="patient", suffix="_first").filter(
        pl.col("encounter") != pl.col("encounter_first"),
        pl.col("side") != pl.col("side_first"),
        pl.col("occurred_at_first") < pl.col("occurred_at"),
        pl.col("occurred_at") < pl.col("left_at_first"),
    )
    due = pl.col("occurred_at") + timedelta(minutes=30)
    verdict = (
        pl.when(pl.min_horizontal("left_at", "left_at_first") <= due).then(pl.lit("met"))
        .when(until > due).then(pl.lit("violated"))
        .otherwise(pl.lit("open"))
    )  # fmt: skip
    return pairs.with_columns(rule=pl.lit("two-places"), verdict=verdict)


def run(path: str) -> tuple[Taken, dict[str, str]]:
    """The frames over a log: what they took, and the verdicts."""
    taken, found = timed(lambda: verdicts(path))
    return taken, {f"{rule}:{trigger}": verdict for rule, trigger, verdict in found.iter_rows()}
