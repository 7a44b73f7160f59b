"""How brokers are reached, and what is said when they are not."""

import gc
import warnings
from pathlib import Path

import pytest

from monitor.ingest.brokers import Complaints, Trouble, connected, security, why
from monitor.settings import Brokers

with warnings.catch_warnings():
    # It reads its protocol by functions of the standard library that Python 3.11 and 3.12 call deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError

NOWHERE = Brokers(brokers=["127.0.0.1:1"])


def open_files():
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("monitor.ingest.brokers.ANSWER_MILLISECONDS", 1_000)


@pytest.mark.usefixtures("impatient")
def test_who_cannot_be_reached_is_said_with_the_reason_and_leaves_no_socket_behind():
    said = Complaints("somebody")
    said.listen()
    gc.disable()
    try:
        before = open_files()
        with pytest.raises(KafkaTimeoutError) as failed:
            connected(KafkaAdminClient, NOWHERE, client_id="somebody")
        assert open_files() == before
    finally:
        gc.enable()
        said.end()
    text = why(failed.value, NOWHERE, said)
    assert text.startswith("no answer from 127.0.0.1:1 (")
    assert "ECONNREFUSED" in text


def test_what_will_not_pass_is_said_as_it_is_and_what_may_hold_anything_is_not_shown():
    said = Complaints("somebody")

    assert "no-such" in why(TopicAuthorizationFailedError("no-such"), NOWHERE, said)
    assert why(Trouble("p is empty"), NOWHERE, said) == "p is empty"
    assert why(KeyError("PATIENT"), NOWHERE, said) == "the Kafka client failed (KeyError)"


def test_a_password_is_read_from_its_file_and_an_empty_one_is_refused(tmp_path):
    file = tmp_path / "password"
    source = Brokers(brokers=["b"], security="sasl", user="u", password_file=str(file))
    file.write_text("secret\n")

    assert security(source) == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "u",
        "sasl_plain_password": "secret",
    }
    file.write_text("\n")
    with pytest.raises(Trouble, match="is empty"):
        security(source)
