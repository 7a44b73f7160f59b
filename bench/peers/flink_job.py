"""The Flink job of flink.py, run by a Python that has `apache-flink`, which ours does not.

    python flink_job.py LOG FIRST FOLDER

writes a row for each trigger into FOLDER/cases (rule, id, its time, that of the answer or nothing) and prints the seconds
taken. Before, and not counted, it does the same with a short log, FIRST: a Java machine is slow at first.
"""

from __future__ import annotations

import sys
import time

from pyflink.table import EnvironmentSettings, TableEnvironment

EVENTS = """
create table events (
    id string, type string, patient string, encounter string, occurred_at string, `from` string, `to` string,
    ts as to_timestamp(replace(replace(occurred_at, 'T', ' '), 'Z', '')),
    watermark for ts as ts
) with ('connector' = 'filesystem', 'path' = 'file://{path}', 'format' = 'json')
"""
CASES = """
create table cases (rule string, id string, opened timestamp(3), answered timestamp(3))
with ('connector' = 'filesystem', 'path' = 'file://{folder}', 'format' = 'csv')
"""
ANSWERED = """
insert into cases select '{rule}', t.id, cast(t.ts as timestamp(3)), cast(q.ts as timestamp(3))
from (select * from events where {opens}) t left join (select * from events where {wanted}) q
on t.{key} = q.{key} and q.ts between t.ts {least} and t.ts {most}
"""
NIGHT = """
insert into cases select 'night-move', id, cast(ts as timestamp(3)), cast(ts as timestamp(3)) from events
where type = 'transfer' and `from` = 'icu' and (extract(hour from ts) >= 22 or extract(hour from ts) < 7)
"""
IN_TIME = (
    ("triage", "type = 'register' and `to` = 'ed'", "type = 'triage'", "encounter", "", "+ interval '15' minute"),
    ("four-hours", "type = 'register' and `to` = 'ed'", "type in ('transfer', 'discharge') and `from` = 'ed'", "encounter", "", "+ interval '4' hour"),
    ("icu-bed", "type = 'pending_transfer' and `to` = 'icu'", "type = 'transfer' and `to` = 'icu'", "encounter", "", "+ interval '2' hour"),
    ("signed", "type = 'transfer' and `from` = 'icu'", "type = 'handoff_signed'", "encounter", "- interval '12' hour", ""),
    ("bounced", "type = 'transfer' and `from` = 'icu'", "type = 'transfer' and `to` = 'icu'", "patient", "+ interval '1' second", "+ interval '48' hour"),
    ("home/summary", "type = 'pending_discharge'", "type = 'summary_sent'", "encounter", "", "+ interval '3' hour"),
)  # fmt: skip


def main(path: str, first: str, folder: str) -> None:
    table = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    table.get_config().set("parallelism.default", "1")
    _run(table, first, f"{folder}/first")
    print(_run(table, path, f"{folder}/cases"))


def _run(table: TableEnvironment, path: str, folder: str) -> float:
    """The rules over a log; the seconds that took."""
    table.execute_sql("drop table if exists events")
    table.execute_sql("drop table if exists cases")
    table.execute_sql(EVENTS.format(path=path))
    table.execute_sql(CASES.format(folder=folder))
    statements = table.create_statement_set()
    for rule, opens, wanted, key, least, most in IN_TIME:
        statements.add_insert_sql(
            ANSWERED.format(rule=rule, opens=opens, wanted=wanted, key=key, least=least, most=most)
        )
    statements.add_insert_sql(NIGHT)
    started = time.perf_counter()
    statements.execute().wait()
    return time.perf_counter() - started


main(*sys.argv[1:])
