"""Real services that several tests share."""

import pytest


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """A Kafka that runs; tests that stop it start it again."""
    import kafka_broker

    with kafka_broker.some(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker
