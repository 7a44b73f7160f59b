"""Topics as they have to be, and what is said of those that are not."""

import warnings

import pytest

from monitor.settings import Cluster

with warnings.catch_warnings():
    # kafka-python reads its protocol by functions of the standard library that Python 3.11 and 3.12 call deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from monitor.runtime.topics import Found, Wanted, compare, wanted

TOPIC = Wanted("h.events", 12, 3, {"cleanup.policy": "compact,delete", "min.cleanable.dirty.ratio": "0.1"})


def by_name(**settings):
    cluster = Cluster(brokers=["b:9092"], **settings)
    return {each.name: each for each in wanted(cluster)}


def test_all_topics_of_a_cluster_have_its_prefix_and_as_many_partitions():
    found = by_name(prefix="north", partitions=6)

    assert set(found) == {
        "north.events",
        "north.alerts",
        "north.verdicts",
        "north.rejects",
        "north-journeys-changelog",
    }
    assert {each.partitions for each in found.values()} == {6}


@pytest.mark.parametrize(("replication", "majority"), [(1, "1"), (2, "2"), (3, "2"), (5, "3")])
def test_a_majority_of_the_brokers_that_keep_a_message_must_have_it(replication, majority):
    found = by_name(replication=replication)

    assert {each.configs["min.insync.replicas"] for each in found.values()} == {majority}
    assert {each.configs["unclean.leader.election.enable"] for each in found.values()} == {"false"}


def test_events_are_kept_for_a_while_journeys_for_ever_and_the_brokers_say_when_an_event_arrived():
    found = by_name(retention="3d", keep="30d")

    assert found["handoff.events"].configs["retention.ms"] == "259200000"
    assert found["handoff.events"].configs["message.timestamp.type"] == "LogAppendTime"
    assert found["handoff-journeys-changelog"].configs["cleanup.policy"] == "compact"
    assert "retention.ms" not in found["handoff-journeys-changelog"].configs
    assert found["handoff.alerts"].configs["retention.ms"] == "2592000000"


def test_a_topic_that_is_as_it_has_to_be_is_not_told_of_however_its_values_are_written():
    found = Found(12, 3, {"cleanup.policy": "delete,compact", "min.cleanable.dirty.ratio": "0.10", "x": "y"})

    assert list(compare(TOPIC, found)) == []


def test_more_brokers_than_asked_for_may_keep_a_topic():
    assert list(compare(TOPIC, Found(12, 4, TOPIC.configs))) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Found(6, 3, TOPIC.configs), "has 6 partitions, and the settings say 12"),
        (Found(12, 1, TOPIC.configs), "is kept by 1 broker, and the settings say 3"),
        (
            Found(12, 3, TOPIC.configs | {"cleanup.policy": "delete"}),
            "has cleanup.policy=delete, and should have compact,delete: kafka-configs",
        ),
        (
            Found(12, 3, {"cleanup.policy": "compact,delete"}),
            "has min.cleanable.dirty.ratio=, and should have 0.1",
        ),
    ],
)
def test_what_differs_is_told_with_what_is_and_what_should_be(found, said):
    (line,) = compare(TOPIC, found)

    assert line.startswith("topic h.events ")
    assert said in line


def test_a_list_is_written_as_kafka_configs_takes_it():
    (line,) = compare(TOPIC, Found(12, 3, TOPIC.configs | {"cleanup.policy": "delete"}))

    assert line.endswith("--entity-name h.events --add-config cleanup.policy=[compact,delete]")
