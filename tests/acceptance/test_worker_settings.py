"""`handoff worker` as it is set up and used: secured brokers, other rules, FHIR, offsets that are left out, more workers than partitions."""

import json
import random
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from kafka_broker import PASSWORD, USER, KafkaProducer
from kafka_compared import agrees, at_the_end, until_agrees
from kafka_site import PARTITIONS, Site, events, wait_until

from monitor.core.event import moment_text
from monitor.formats.envelope import Heard, encode, partition_of

pytestmark = [
    pytest.mark.acceptance,
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <(socket|ssl):ResourceWarning"),
]
RULES = """\
rules:
  - id: answered
    summary: An answer within a second
    severity: critical
    when: {type: x}
    expect: {type: y}
    within: 1s
    give_up: 1h
  - id: nothing-after-discharge
    summary: Nothing after a discharge
    severity: warning
    when: {type: discharge}
    forbid: {type: x}
    within: 1h
"""
OTHER_RULES = """\
rules:
  - id: answered
    summary: An answer within two seconds, for two hours
    severity: warning
    when: {type: x}
    expect: {type: y}
    within: 2s
    give_up: 2h
  - id: no-discharge
    summary: Nobody is discharged
    severity: critical
    never: {type: discharge}
"""
VISITS = """\
rules:
  - id: moved
    summary: Moved within two seconds of the admission
    severity: warning
    when: {type: admit}
    expect: {type: transfer}
    within: 2s
    give_up: 1h
  - id: stayed-out
    summary: Not discharged at all
    severity: info
    never: {type: discharge}
"""


@pytest.fixture
def site(broker, tmp_path):
    with Site(broker, tmp_path, rules=RULES) as found:
        yield found


def owned(worker):
    return int(worker.metric("partitions "))


def test_brokers_are_reached_by_tls_with_a_certificate_and_with_a_password(broker, site):
    if not hasattr(broker, "secure"):
        return  # a broker that the tests did not start has listeners of its own
    (site.folder / "password").write_text(PASSWORD)
    trust = {"ca": str(broker.ca)}
    certificate = {"certificate": str(broker.client_certificate), "key": str(broker.client_key)}
    password = {"user": USER, "password_file": str(site.folder / "password")}
    ways = {
        "tls": trust | certificate,
        "sasl": password | {"mechanism": "PLAIN"},
        "sasl-tls": trust | password,
    }
    site.start(
        *(
            {"settings": site.settings(f"{way}.yaml", security=way, brokers=[broker.secure[way]], **more)}
            for way, more in ways.items()
        )
    )
    wait_until(lambda: [owned(each) for each in site.workers] == [1, 1, 1], 60, "a partition for each")
    site.tell(events(400))
    agrees(site)


def test_a_worker_that_is_not_let_in_says_so_and_ends(broker, site):
    if not hasattr(broker, "secure"):
        return
    (site.folder / "password").write_text("guessed")
    settings = site.settings(
        "wrong.yaml",
        security="sasl",
        brokers=[broker.secure["sasl"]],
        user=USER,
        password_file=str(site.folder / "password"),
    )
    worker = site.begin("worker", settings=settings)
    assert worker.process.wait(60) == 3
    assert "password" in worker.text() or "uthentication" in worker.text()


def test_changed_rules_are_those_of_all_journeys_and_who_was_told_is_told(site):
    site.start({}, {})
    site.tell(events(400))
    until_agrees(site)
    site.use("rules: [{id: broken}]\n")
    wait_until(lambda: all(each.metric("rules_refused") for each in site.workers), 30, "being refused")
    site.tell(events(100))
    site.use(OTHER_RULES)
    wait_until(
        lambda: all(each.metric('rule_reloads_total{result="taken"}') for each in site.workers),
        30,
        "being taken",
    )
    site.tell(events(40, kinds=("x",)))
    now = until_agrees(site)
    site.end()
    found = at_the_end(site, now)
    # what only the old rules knew of was told, and is withdrawn
    told = {alert: told_[-1][1] for alert, told_ in site.notices().items()}
    assert {told[alert].rule for alert in found.passing} == {"nothing-after-discharge"}
    assert {told[alert].reason for alert in found.passing} == {"withdrawn"}
    assert {each.rule for each in told.values() if each.state == "firing"} == {"answered", "no-discharge"}


def encounter(number, version, *stays, patient=None, **more):
    """A version of an Encounter: its stays, each (place, seconds from its beginning)."""
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
    moments = [began + timedelta(seconds=after) for _, after in stays]
    ends = [*moments[1:], None]
    return {
        "resourceType": "Encounter",
        "id": f"E{number}",
        "meta": {
            "versionId": str(version),
            "lastUpdated": moment_text(datetime.now(UTC) + timedelta(milliseconds=version)),
        },
        "status": "in-progress",
        "class": {"code": "IMP"},
        "subject": {"reference": f"Patient/{patient or f'p{number}'}"},
        "period": {"start": moment_text(began)},
        "location": [
            {
                "location": {"display": place},
                "period": {"start": moment_text(at)} | ({} if end is None else {"end": moment_text(end)}),
            }
            for (place, _), at, end in zip(stays, moments, ends, strict=True)
        ],
    } | more


def test_visits_of_fhir_are_compared_by_whoever_has_them_and_told_to_their_patients(broker, tmp_path):
    chance = random.Random(0)
    with Site(broker, tmp_path, rules=VISITS) as site:
        site.start({}, {})
        sent = []
        for number in range(30):
            versions = [
                encounter(number, 1, ("ED", 0)),
                encounter(number, 2, ("ED", 0), ("WARD", chance.choice([1, 4]))),
                encounter(number, 3, ("ED", 0), ("ICU", 4), patient=chance.choice([None, f"q{number}"])),
            ]
            chance.shuffle(versions)
            sent += versions[: chance.randrange(1, 4)] + versions[:1]
        for position, resource in enumerate(sent):
            status, answer = site.post("/fhir", json.dumps(resource), "application/fhir+json")
            assert status == 202, answer
            if position == len(sent) // 2:
                site.kill(site.workers[0])
                site.join()
        site.until_ready()
        agrees(site)
        assert site.topic("rejects") == []
        assert {each.verdict for each in site.verdicts().values() if each.rule == "moved"} >= {
            "met",
            "late",
            "open",
        }


def test_offsets_that_hold_no_records_are_passed_and_hold_no_time_back(broker, site):
    site.start({})
    with closing(
        KafkaProducer(bootstrap_servers=broker.servers, transactional_id=site.cluster.prefix)
    ) as producer:
        producer.init_transactions()
        site.tell(events(200, kinds=("x",)))  # the last is due in a second
        for end in (producer.abort_transaction, producer.commit_transaction):
            producer.begin_transaction()
            for number in range(PARTITIONS):
                producer.send(site.cluster.topic("events"), encode(Heard("A")), partition=number)
            end()  # leaves a record of its own in each partition
    until_agrees(site)
    [worker] = site.workers
    wait_until(lambda: worker.metric("lag_records") == 0, 30, "nothing that waits")
    assert worker.metric("offset_gaps_total") == 0
    site.tell(events(200))
    agrees(site)


def test_what_retention_took_before_anybody_read_it_is_gone_and_the_rest_is_judged(broker, site):
    site.start({})
    site.tell(events(200))
    until_agrees(site)
    site.end()
    site.forgotten = site.events()
    topic = site.cluster.topic("events")
    read = [site.written("events", number) for number in range(PARTITIONS)]
    assert broker.committed(site.cluster.prefix, topic, PARTITIONS) == sum(read)
    site.tell(events(200, kinds=("x",)))
    gone = 0
    for number in range(PARTITIONS):
        first = site.written("events", number) - 20
        broker.delete(topic, first, number)
        gone += first - read[number]
    site.join()
    site.until_ready()
    assert site.workers[0].metric("expired_records_total") == gone
    agrees(site)
    assert 200 < len(site.events()) <= 200 + 20 * PARTITIONS  # signs of life are among those that are left


def test_more_workers_than_partitions_wait_until_they_are_needed(broker, tmp_path):
    with Site(broker, tmp_path, rules=RULES, partitions=2) as site:
        site.start({}, {}, {})
        wait_until(lambda: sorted(owned(each) for each in site.workers) == [0, 1, 1], 60, "a share for each")
        site.tell(events(300))
        site.kill(next(each for each in site.workers if owned(each) == 1))
        site.tell(events(100))
        wait_until(lambda: [owned(each) for each in site.workers] == [1, 1], 60, "being needed")
        site.until_ready()
        agrees(site)
        assert {partition_of(f"p{n}".encode(), 2) for n in range(40)} == {0, 1}
