"""DuckDB: the rules as rows of a table, SQL over the finished log, two threads.

Six forms are rows of `rules`: what opens a case, what must (or must not) follow or precede it, what makes it void. The
second step of a pathway begins where the first was answered. `count` and `exclusive` are queries of their own. Nothing
here knows cancels, corrections or `overlap`, and there are no alerts: the log is over.
"""

from __future__ import annotations

from typing import Final

import duckdb

from bench.measure import Taken, timed

COVERS: Final = "all"

READ = """
create table events as select * from read_json(?, format = 'newline_delimited', columns = {
    id: 'varchar', type: 'varchar', patient: 'varchar', encounter: 'varchar',
    occurred_at: 'timestamp', recorded_at: 'timestamp', "from": 'varchar', "to": 'varchar'
});
"""

RULES = """
create table rules (
    rule varchar, form varchar, looks_at varchar,
    opens varchar[], opens_from varchar, opens_to varchar,
    wanted varchar[], wanted_from varchar, wanted_to varchar,
    unless varchar[], within interval, give_up interval, after varchar
);
insert into rules values
('triage', 'expect', 'encounter', ['register'], null, 'ed', ['triage'], null, null, ['discharge'], '15 minutes', '4 hours', null),
('boarding', 'expect', 'encounter', ['decision_to_admit'], null, null, ['admit', 'transfer'], 'ed', null, ['discharge'], '4 hours', '24 hours', null),
('four-hours', 'expect', 'encounter', ['register'], null, 'ed', ['transfer', 'discharge'], 'ed', null, [], '4 hours', null, null),
('icu-bed', 'expect', 'encounter', ['pending_transfer'], null, 'icu', ['transfer'], null, 'icu', ['discharge'], '2 hours', '24 hours', null),
('signed', 'require', 'encounter', ['transfer'], 'icu', null, ['handoff_signed'], null, null, [], '12 hours', null, null),
('bounced', 'forbid', 'patient', ['transfer'], 'icu', null, ['transfer'], null, 'icu', [], '48 hours', null, null),
('night-move', 'never', 'encounter', ['transfer'], 'icu', null, [], null, null, [], null, null, null),
('home/summary', 'expect', 'encounter', ['pending_discharge'], null, null, ['summary_sent'], null, null, [], '3 hours', '24 hours', null),
('home/left', 'expect', 'encounter', [], null, null, ['discharge'], null, null, [], '3 hours', '24 hours', 'home/summary');
"""

FOUND = """
create view opened as
    select rule, id, occurred_at as moment, case looks_at when 'patient' then patient else encounter end as journey
    from events join (select *, unnest(opens) as type from rules) using (type)
    where coalesce("from" = opens_from, opens_from is null) and coalesce("to" = opens_to, opens_to is null)
      and (form <> 'never' or hour(occurred_at) not between 7 and 21);

create table wanted as
    select rule, occurred_at as moment, case looks_at when 'patient' then patient else encounter end as journey
    from events join (select *, unnest(wanted) as type from rules) using (type)
    where coalesce("from" = wanted_from, wanted_from is null) and coalesce("to" = wanted_to, wanted_to is null);

create table vetoes as
    select rule, occurred_at as moment, encounter as journey
    from events join (select *, unnest(unless) as type from rules) using (type);

create table first_cases as
    select o.*, q.moment as answered_at
    from opened o asof left join wanted q
      on o.rule = q.rule and o.journey = q.journey and q.moment >= o.moment
    where o.rule not in (select rule from rules where form in ('require', 'forbid'));

create table cases as
    select * from first_cases
    union all
    select s.*, q.moment
    from (
        select r.rule, c.id, c.answered_at as moment, c.journey
        from first_cases c join rules r on c.rule = r.after where c.answered_at is not null
    ) s asof left join wanted q on s.rule = q.rule and s.journey = q.journey and q.moment >= s.moment
    union all
    select o.*, q.moment
    from opened o join rules r on o.rule = r.rule and r.form = 'forbid'
    asof left join wanted q on o.rule = q.rule and o.journey = q.journey and q.moment > o.moment
    union all
    select o.*, q.moment
    from opened o join rules r on o.rule = r.rule and r.form = 'require'
    asof left join wanted q on o.rule = q.rule and o.journey = q.journey and q.moment <= o.moment;
"""

JUDGED = """
create table verdicts as
with ends as (select max(recorded_at) as until from events),
looked as (
    select c.*, form, c.moment + within as due, c.moment - within as since, c.moment + within + give_up as over, until,
        v.moment as veto
    from cases c join rules using (rule) cross join ends
    asof left join vetoes v on c.rule = v.rule and c.journey = v.journey and v.moment > c.moment
)
select rule, id, case form
    when 'never' then 'violated'
    when 'require' then case when answered_at >= since then 'met' else 'violated' end
    when 'forbid' then case when answered_at <= due then 'violated' when until > due then 'met' else 'open' end
    else case
        when veto <= due and coalesce(veto < answered_at, true) then 'void'
        when answered_at <= due then 'met'
        when coalesce(veto < answered_at, veto is not null) then 'missed'
        when answered_at is not null then 'late'
        when until > over then 'missed'
        else 'open' end
    end as verdict
from looked
union all
select 'moves', id, 'violated' from (
    select id, count(*) over (
        partition by encounter order by occurred_at
        range between interval '23:59:59.999999' preceding and current row
    ) as number
    from events where type = 'transfer'
) where number = 4
union all
select 'two-places', id,
    case when least(left_first, left_second) <= moment + interval '30 minutes' then 'met'
         when until > moment + interval '30 minutes' then 'violated' else 'open' end
from (
    with places as (
        select id, patient, encounter, occurred_at as moment,
            case when "to" = 'ed' then 'ed' when "to" like 'ward-%' then 'ward' end as side
        from events where type in ('register', 'admit', 'transfer', 'discharge')
          and patient in (select patient from events where type = 'admit')
    ),
    moves as (
        select *, lag(side) over (partition by encounter order by moment) as before
        from places
    ),
    sides as (
        select *, lead(moment) over (partition by encounter order by moment) as left_at
        from moves where side is distinct from before
    )
    select two.id, two.moment, coalesce(one.left_at, 'infinity') as left_first,
        coalesce(two.left_at, 'infinity') as left_second
    from sides one join sides two on one.patient = two.patient and one.encounter <> two.encounter
    where one.side <> two.side and one.moment < two.moment and two.moment < coalesce(one.left_at, 'infinity')
) cross join ends;
"""


def run(path: str) -> tuple[Taken, dict[str, str]]:
    """The queries over a log: what they took, and the verdicts."""
    database = duckdb.connect(config={"threads": 2})

    def work() -> None:
        database.execute(READ, [path])
        for query in (RULES, FOUND, JUDGED):
            database.execute(query)

    taken, _ = timed(work)
    rows = database.execute("select rule || ':' || id, verdict from verdicts").fetchall()
    return taken, dict(rows)
