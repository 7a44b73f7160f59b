"""Tokens and roles: who may do what, what a file of tokens may say, and that it never gives a token away."""

import hashlib
import io
from types import SimpleNamespace

import pytest
from web import MemoryIntake, asking, parts, serving

from monitor.board.app import make_app
from monitor.board.auth import Access, Tokens, TokensError
from monitor.board.desk import Desk
from monitor.log import logged_to

EVENT = {"id": "1", "type": "triage", "patient": "7001", "occurred_at": "2026-03-03T10:00:00Z"}
ROLES = ("sender", "viewer", "clinician", "admin")


def token(role):
    return f"the-token-of-a-{role}"


def tokens_file(*lines):
    return "tokens:\n" + "".join(f"  - {line}\n" for line in lines)


ALL = tokens_file(
    *(f"{{name: {role}-1, role: {role}, token: {token(role)}}}" for role in ROLES),
    "{name: epic, role: sender, source: epic, token: the-token-of-epic}",
    f"{{name: hashed, role: viewer, sha256: {hashlib.sha256(b'the-hashed-token').hexdigest()}}}",
)


class EmptyStore:
    """A store in which nothing is."""

    def __init__(self):
        self.lines = []

    def alerts(self, **filters):
        return []

    def audited(self, **page):
        return []

    def alert(self, alert):
        return None

    def audit(self, *line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "tokens.yaml"
    path.write_text(ALL)
    store = EmptyStore()
    tokens = Tokens(path)
    made, _ = parts(access=Access(tokens), desk=Desk(store, store, OSError))
    with serving(make_app(made)) as address, asking(address) as client:
        yield SimpleNamespace(client=client, intake=made.intake, path=path, tokens=tokens, store=store)


def bearing(word):
    return {"authorization": f"Bearer {word}"}


ACK = "/api/alerts/00000000-0000-0000-0000-000000000000/ack"


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("sender", {"post"}),
        ("viewer", {"read"}),
        ("clinician", {"read", "acknowledge"}),
        ("admin", {"read", "acknowledge", "audit", "post"}),
    ],
)
def test_each_role_may_what_it_may_and_nothing_else(served, role, may):
    headers = bearing(token(role))
    tried = {
        "post": served.client.post("/events", json=EVENT, headers=headers),
        "read": served.client.get("/api/alerts", headers=headers),
        "acknowledge": served.client.post(ACK, json={"reason": "x"}, headers=headers),
        "audit": served.client.get("/api/audit", headers=headers),
    }
    assert {what for what, answer in tried.items() if answer.status_code != 403} == may
    assert {answer.status_code for what, answer in tried.items() if what in may} <= {200, 202, 404}


@pytest.mark.parametrize(
    "headers",
    [{}, bearing("wrong-token-wrong-token"), {"authorization": "Bearer"}, {"authorization": f"Basic {token('admin')}"}, bearing(token("admin")[:-1]), bearing("é" * 20)],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("POST", "/events"), ("GET", "/api/alerts"), ("GET", "/api/rules"), ("POST", ACK)])  # fmt: skip
def test_without_a_known_token_nothing_is_said_or_taken(served, headers, method, path):
    before = len(served.intake.batches), len(served.store.lines)
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = served.client.request(method, path, json=EVENT, headers=encoded)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (len(served.intake.batches), len(served.store.lines)) == before


def test_a_token_may_stand_in_the_file_as_its_digest(served):
    assert served.client.get("/api/alerts", headers=bearing("the-hashed-token")).status_code == 200


def test_health_and_metrics_need_no_token(served):
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert served.client.get(path).status_code == 200


def test_a_token_with_a_source_sends_under_no_other(served):
    headers = bearing("the-token-of-epic")
    answer = served.client.post("/events", json=[EVENT, EVENT | {"source": "lab"}], headers=headers)
    assert [event.source for event in served.intake.events[-1:]] == ["epic"]
    assert [each["reason"] for each in answer.json()["rejects"]] == ["wrong-source"]
    assert served.client.post("/events?source=lab", json=EVENT, headers=headers).status_code == 403
    assert served.client.post("/events?source=epic", json=EVENT, headers=headers).status_code == 202


def test_a_changed_file_counts_at_once_and_a_broken_one_changes_nothing(served):
    def reads(word):
        return served.client.get("/api/alerts", headers=bearing(word)).status_code

    try:
        served.path.write_text(ALL.replace(token("viewer"), "the-new-token-of-a-viewer"))
        assert (reads("the-new-token-of-a-viewer"), reads(token("viewer"))) == (200, 401)
        said = io.StringIO()
        with logged_to(said, is_strict=True):
            served.path.write_text("tokens: [")
            assert [reads("the-new-token-of-a-viewer") for _ in range(3)] == [200] * 3
        assert said.getvalue().count("tokens_refused") == 1
        assert "still count" in said.getvalue()
        [warning] = served.client.get("/readyz").json()["warnings"]
        assert warning["what"] == "tokens"
        assert "still count" in warning["why"]
        served.path.unlink()
        assert reads("the-new-token-of-a-viewer") == 200
    finally:
        served.path.write_text(ALL)
    assert (reads("the-new-token-of-a-viewer"), reads(token("viewer"))) == (401, 200)
    assert served.client.get("/readyz").json()["warnings"] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tokens: [",
        "tokens: 3",
        "token: x",
        tokens_file("{name: a, role: viewer}"),
        tokens_file("{name: a, role: viewer, token: secret-short}"),
        tokens_file("{name: a, role: secret-secret-secret, token: secret-secret-secret}"),
        tokens_file("{name: '', role: viewer, token: secret-secret-secret}"),
        tokens_file("{name: a, role: viewer, token: secret-secret-secret, sha256: secret}"),
        tokens_file("{name: a, role: viewer, sha256: secret}"),
        tokens_file("{name: a, role: viewer, tokn: secret-secret-secret}"),
        tokens_file("{name: a, role: viewer, token: secret-secret-sécret}"),
        tokens_file("secret-secret-secret"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place_and_without_a_token(tmp_path, text):
    path = tmp_path / "tokens.yaml"
    path.write_text(text)
    with pytest.raises(TokensError) as refused:
        Tokens(path)
    assert str(path) in str(refused.value)
    assert "secret" not in str(refused.value).removeprefix(str(path))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TokensError, match="No such file"):
        Tokens(tmp_path / "tokens.yaml")


def test_a_file_may_be_put_in_place_of_another(tmp_path):
    path, other = tmp_path / "tokens.yaml", tmp_path / "other.yaml"
    path.write_text(tokens_file("{name: a, role: viewer, token: aaaaaaaaaaaaaaaa}"))
    other.write_text(tokens_file("{name: b, role: viewer, token: bbbbbbbbbbbbbbbb}"))
    tokens = Tokens(path)
    other.replace(path)
    assert tokens.find("aaaaaaaaaaaaaaaa") is None
    assert tokens.find("bbbbbbbbbbbbbbbb").name == "b"


@pytest.mark.parametrize(("is_open", "status"), [(False, 401), (True, 200)])
def test_this_machine_reads_as_a_viewer_if_that_was_asked_for(is_open, status):
    store = EmptyStore()
    made, _ = parts(access=Access(open_to_loopback=is_open), desk=Desk(store, store, OSError))
    with serving(make_app(made)) as address, asking(address) as client:
        assert client.get("/api/alerts").status_code == status
        assert client.get("/api/alerts", headers={"x-forwarded-for": "10.1.1.1"}).status_code == 401
        assert client.get("/api/audit").status_code in (401, 403)
        assert client.post(ACK, json={"reason": "x"}).status_code in (401, 403)


def test_the_application_has_no_questions_without_a_store():
    made, _ = parts(intake=MemoryIntake())
    assert not [path for path in make_app(made).openapi()["paths"] if path.startswith("/api")]
