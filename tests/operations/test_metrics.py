"""Metrics: what is declared is what is shown, and no sender can make more of them than there may be."""

import os
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from monitor.metrics import Bound, Family, Metrics, metrics_table
from monitor.rulefile import load_registry, load_rules
from monitor.runtime.reader import OpenCases

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
REGISTRY = """
sources: {PAS/RGH: {}, EPR: {}}
microsystems: [{id: ed}, {id: icu}]
"""
RULE = "{id: %s, summary: s, severity: critical, when: {any: [{type: triage}, {type: [admit, 'x*']}]}, expect: {type: seen}, within: 1h}"


def rules(*ids, mode=""):
    text = "rules:\n" + "".join(f"  - {RULE % each}\n".replace("}\n", mode + "}\n") for each in ids)
    found, problems = load_rules([("r", text.encode())])
    assert problems == []
    return found


def registry(text=REGISTRY):
    return load_registry("m", text.encode())[0]


@pytest.fixture
def metrics():
    made = Metrics(lambda: NOW, sinks=["log", "mail"])
    made.use(rules("boarding"), registry())
    return made


def samples(metrics, name=""):
    """Labels and value of each series whose name begins so."""
    text = metrics.exposition("application/openmetrics-text; version=1.0.0")[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_openmetrics(text)
        for sample in family.samples
        if sample.name.startswith(name)
    }


def value(metrics, name, **labels):
    return samples(metrics, name).get((name, tuple(sorted(labels.items()))))


def test_known_values_stay_and_strangers_become_other(metrics):
    metrics.events.of("PAS/RGH", "admit").inc()
    metrics.events.of("SMITH^JOHN", "patient-4711-arrived").inc()
    metrics.delay.of("boarding", "ed", "XRAY^ANNEX").observe(60)
    assert value(metrics, "handoff_events_total", source="PAS/RGH", type="admit") == 1
    assert value(metrics, "handoff_events_total", source="other", type="other") == 1
    assert value(metrics, "handoff_delay_seconds_count", rule="boarding", **{"from": "ed"}, to="other") == 1
    shown = metrics.exposition("")[0]
    assert not [name for name in (b"SMITH", b"4711", b"XRAY", "SMITH".encode("utf-16")[2:]) if name in shown]


def test_types_that_rules_name_are_known_and_so_are_cancels(metrics):
    for kind in ("triage", "seen", "cancel_admit", "heartbeat", "xray"):
        metrics.events.of("EPR", kind).inc()
    shown = {dict(labels)["type"] for _, labels in samples(metrics, "handoff_events_total")}
    assert shown == {"triage", "seen", "cancel_admit", "heartbeat", "other"}


def test_without_sources_in_the_registry_the_first_fifty_are_told_apart(metrics):
    metrics.use(rules("boarding"), registry("microsystems: []"))
    for number in range(200):
        metrics.events.of(f"feed-{number}", "admit").inc()
    shown = {dict(labels)["source"] for _, labels in samples(metrics, "handoff_events_total")}
    assert shown == {"other", *(f"feed-{number}" for number in range(50))}
    assert value(metrics, "handoff_events_total", source="other", type="admit") == 150


def test_the_number_of_series_has_a_limit_under_hostile_input_and_reloads(metrics):
    def noise(number):
        word = f"{number}\n\"}}'"
        metrics.events.of(word, word).inc()
        metrics.rejects.of(word, word).inc()
        metrics.cases.of(word, word).inc()
        metrics.verdict_changes.of(word, word, word, word).inc()
        metrics.delay.of(word, word, word).observe(number)
        metrics.alerts.of(word, word, word, word).inc()
        metrics.deliveries.of(word, word).inc()
        metrics.mllp_acks.of(word).inc()

    counts = []
    for generation in range(30):
        metrics.use(rules(f"rule-{generation}"), registry(f"sources: {{feed-{generation}: {{}}}}"))
        for number in range(100):
            noise(1000 * generation + number)
        metrics.cases.of(f"rule-{generation}", "met").inc()
        metrics.events.of(f"feed-{generation}", "admit").inc()
        counts.append(len(samples(metrics)))
    assert counts[-1] == counts[2]
    assert {dict(labels)["rule"] for _, labels in samples(metrics, "handoff_cases_total")} == {
        "rule-29",
        "other",
    }


def test_a_reload_keeps_the_counts_of_rules_that_stay(metrics):
    metrics.cases.of("boarding", "met").inc(3)
    metrics.use(rules("boarding", "transit"), registry())
    assert value(metrics, "handoff_cases_total", rule="boarding", verdict="met") == 3


def test_shadow_rules_are_counted_apart(metrics):
    metrics.use([*rules("a", "b"), *rules("c", mode=", mode: shadow")], registry())
    assert value(metrics, "handoff_rules", state="live") == 2
    assert value(metrics, "handoff_rules", state="shadow") == 1


def test_open_cases_are_read_when_they_are_asked_for(metrics):
    rows = [OpenCases("boarding", 5, 2, NOW - timedelta(hours=3)), OpenCases("gone", 1, 0, None)]
    metrics.read_from(lambda: rows, lambda: {"mail": 4, "stranger": 1})
    assert value(metrics, "handoff_open_cases", rule="boarding") == 5
    assert value(metrics, "handoff_overdue_cases", rule="boarding", severity="critical") == 2
    assert value(metrics, "handoff_oldest_overdue_seconds", rule="boarding") == 3 * 3600
    assert value(metrics, "handoff_open_cases", rule="gone") is None
    assert samples(metrics, "handoff_outbox_pending") == {
        ("handoff_outbox_pending", (("sink", "mail"),)): 4.0
    }
    rows[0] = OpenCases("boarding", 0, 0, None)
    assert value(metrics, "handoff_open_cases", rule="boarding") == 0
    assert value(metrics, "handoff_oldest_overdue_seconds", rule="boarding") == 0


def test_a_store_that_cannot_be_read_costs_only_the_figures_of_the_store(metrics):
    def broken():
        raise OSError("disk I/O error")

    metrics.ready.set(1)
    metrics.read_from(broken, dict)
    assert value(metrics, "handoff_ready") == 1
    assert samples(metrics, "handoff_open_cases") == {}
    assert value(metrics, "handoff_scrape_errors_total") >= 1


def test_both_formats_are_spoken_as_asked(metrics):
    metrics.delay.of("boarding", "ed", "icu").observe(5400)
    body, content_type = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    text, content_type = metrics.exposition("text/plain")
    assert content_type.startswith("text/plain")
    assert b"# EOF" not in text
    names = {family.name for family in parse_text(text.decode())}
    assert "handoff_delay_seconds" in names


def test_delays_are_told_apart_from_minutes_to_days(metrics):
    for delay in (timedelta(minutes=4), timedelta(minutes=14), timedelta(hours=3), timedelta(days=6)):
        metrics.delay.of("boarding", "ed", "icu").observe(delay.total_seconds())
    found = samples(metrics, "handoff_delay_seconds_bucket")
    within = {float(dict(labels)["le"]): count for (_, labels), count in found.items()}
    assert [within[limit] for limit in (60, 300, 900, 14_400, 172_800, 604_800)] == [0, 1, 2, 3, 3, 4]


def test_nothing_is_shown_that_is_not_declared(metrics):
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name, _ in samples(metrics)
        if not name.startswith("process_")
    }
    assert shown - {each.name for each in metrics.declared} == set()
    assert all(each.meaning.endswith(".") or each.name.endswith("info") for each in metrics.declared)


def test_what_an_engine_counts_is_added_up_over_engines(metrics):
    for counts in ({"duplicates": 2}, {"duplicates": 5, "conflicts": 1}, {"duplicates": 1}, {"xs": 9}):
        metrics.count_oddities(counts)
    assert value(metrics, "handoff_event_oddities_total", kind="duplicates") == 6
    assert value(metrics, "handoff_event_oddities_total", kind="conflicts") == 1
    assert value(metrics, "handoff_event_oddities_total", kind="other") == 9


def test_every_metric_is_fed_by_somebody(metrics):
    product = Path(__file__).parents[2] / "monitor"
    code = "".join(path.read_text() for path in product.rglob("*.py"))
    fed = set(
        re.findall(r"metrics\.(\w+)(?:\.of\([^()]*(?:\([^()]*\)[^()]*)*\))?\.(?:inc|dec|set|observe)\b", code)
    )
    fed |= set(re.findall(r"self\.(\w+)(?:\.of\([^()]*\))?\.(?:inc|dec|set|observe)\b", code))
    kinds = (Family, Counter, Gauge, Histogram)
    assert {name for name, each in vars(metrics).items() if isinstance(each, kinds)} - fed == set()


def test_a_bound_gives_its_room_once_whatever_the_threads_do():
    bound = Bound(room=20)
    seen = set()

    def fill(start):
        for number in range(start, start + 400):
            seen.add(bound(f"v{number}"))

    threads = [threading.Thread(target=fill, args=(100 * each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen - {"other"}) == 20


def test_the_table_of_the_page_is_that_of_the_metrics():
    page = PAGE.read_text()
    found = re.search(r"(<!-- metrics:.*?-->\n)(.*?)(<!-- end -->)", page, re.DOTALL)
    made = f"\n{metrics_table()}\n"
    if os.environ.get("UPDATE"):
        PAGE.write_text(page[: found.start(2)] + made + page[found.end(2) :])
        return
    assert found[2] == made
