"""Settings: what a file, the environment and options say together, and what is said when it cannot be right."""

import io
import json
import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from monitor.cli import main
from monitor.core.text import Model
from monitor.rulefile import as_text
from monitor.settings import (
    EmailSink,
    Settings,
    WebhookSink,
    load_settings,
    settings_keys,
    settings_schema,
    unreadable_files,
    variables_table,
)
from monitor.settings.load import keys

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
WHOLE = """
data: /var/lib/handoff
rules: [pack:ed, rules/]
microsystems: microsystems.yaml
mllp:
  host: 0.0.0.0
  port: 2600
  tls: {certificate: server.pem, key: server.key, client_ca: ca.pem}
  idle_after: 1h30m
http: {port: 0, tokens: tokens.yaml}
follow: [{path: /in}]
kafka:
  - {brokers: ["k1:9093"], topic: adt, format: hl7, security: sasl-tls, user: u, password_file: p, certificate: c, key: k}
sinks:
  log: {log: true}
  teams: {webhook: "https://hooks.example/x", secret_file: teams.key, identifiers: none}
  mail: {email: "smtp.example:587", sender: Handoff <handoff@h.example>, gather: 1m}
  prometheus: {alertmanager: ["http://am-1:9093", "http://am-2:9093"]}
  pager: {apprise_file: apprise.txt}
receivers:
  default: {sinks: [log, teams]}
  bed manager: {sinks: [mail, pager], email: [beds@h.example], identifiers: full}
link: https://handoff.example/alerts/{alert}?journey={journey}
horizon: 60d
log_level: warning
"""


def load(content="", environment=None, **options):
    return load_settings(
        "handoff.yaml", None if content is None else content.encode(), environment or {}, options
    )


def codes(problems):
    return [(each.severity, each.code, each.file, each.line) for each in problems]


def only(content, environment=None, **options):
    """The one problem, beside that no rules were named."""
    settings, problems = load(content, environment, **options)
    (problem,) = [each for each in problems if each.code != "no-rules"]
    assert (settings is None) == (problem.severity == "error")
    return problem


def test_without_a_file_everything_has_a_default():
    settings, problems = load(None)
    assert settings == Settings()
    assert codes(problems) == [("warning", "no-rules", "handoff.yaml", 1)]


@pytest.mark.parametrize("content", ["", "\n\n", "# all as it comes\n", "---\n", "null\n", "{}"])
def test_a_file_that_says_nothing_is_as_none(content):
    assert load(content)[0] == Settings()


def test_a_whole_file_is_read():
    settings, problems = load(WHOLE)
    assert problems == []
    assert settings.mllp.tls.client_ca == "ca.pem"
    assert settings.mllp.idle_after == timedelta(minutes=90)
    assert settings.follow[0].path == "/in"
    assert isinstance(settings.sinks["teams"], WebhookSink)
    assert isinstance(settings.sinks["mail"], EmailSink)
    assert settings.receivers["bed manager"].identifiers == "full"


def test_a_variable_wins_over_the_file_and_an_option_over_the_variable():
    variables = {"HANDOFF_MLLP_PORT": "2601", "HANDOFF_DATA": "/from/environment"}
    settings, _ = load(WHOLE, variables, data="/from/option", mllp_host=None)
    assert (settings.mllp.port, settings.data, settings.mllp.host) == (2601, "/from/option", "0.0.0.0")


def test_lists_of_variables_are_apart_by_commas_and_those_of_options_are_lists():
    settings, _ = load("rules: [one]", {"HANDOFF_RULES": "pack:ed, two", "HANDOFF_FOLLOW": "/in,/more"})
    assert settings.rules == ["pack:ed", "two"]
    assert [each.path for each in settings.follow] == ["/in", "/more"]
    assert load("rules: [one]", rules=["pack:ed", "a,b"])[0].rules == ["pack:ed", "a,b"]


def test_a_variable_may_complete_what_the_file_begins():
    settings, _ = load("http: {tls: {certificate: c}}", {"HANDOFF_HTTP_TLS_KEY": "k"})
    assert (settings.http.tls.certificate, settings.http.tls.key) == ("c", "k")


def test_an_empty_variable_counts_as_not_set():
    assert load("link: https://h.example/", {"HANDOFF_LINK": ""})[0].link == "https://h.example/"


def test_an_option_of_something_else_is_not_ours():
    assert load(None, settings="handoff.yaml", command="run")[0] == Settings()


def test_every_variable_and_option_is_told_apart():
    names = [key.variable for key in keys()]
    assert len(set(names)) == len(names)
    assert "HANDOFF_MLLP_TLS_CLIENT_CA" in names
    assert not [name for name in names if "SINKS" in name or "RECEIVERS" in name]


@pytest.mark.parametrize(
    ("variables", "options", "name", "column", "excerpt"),
    [
        ({"HANDOFF_HTTP_PORT": "http"}, {}, "HANDOFF_HTTP_PORT", 1, "http"),
        ({"HANDOFF_HTTP_PORT": "70000"}, {}, "HANDOFF_HTTP_PORT", 1, "70000"),
        ({"HANDOFF_MLLP_PORT": "1"}, {"mllp_port": "x"}, "--mllp-port", 1, "x"),
        ({}, {"log_level": "loud"}, "--log-level", 1, "loud"),
        ({"HANDOFF_HORIZON": "45 days"}, {}, "HANDOFF_HORIZON", 1, "45 days"),
        ({"HANDOFF_MLLP_TLS_CERTIFICATE": "c"}, {}, "HANDOFF_MLLP_TLS_CERTIFICATE", 1, "c"),
    ],
)
def test_what_is_wrong_with_a_variable_or_option_is_told_under_its_name(
    variables, options, name, column, excerpt
):
    problem = only("mllp: {port: 1}\n", variables, **options)
    assert (problem.file, problem.line, problem.column, problem.excerpt) == (name, 1, column, excerpt)


def test_what_is_wrong_with_the_file_keeps_its_place_beside_variables():
    problem = only("data: d\nmllp:\n  prot: 1\n", {"HANDOFF_MLLP_HOST": "127.0.0.2"}, http_port="1")
    assert (problem.file, problem.line, problem.column, problem.hint) == (
        "handoff.yaml",
        3,
        3,
        "did you mean `port`?",
    )


def test_a_variable_does_not_hide_that_the_file_is_wrong_around_it():
    problem = only("mllp: 2575\n", {"HANDOFF_MLLP_PORT": "2575"})
    assert (problem.file, problem.line, problem.message) == (
        "handoff.yaml",
        1,
        "expected a mapping; found `2575`",
    )


def test_an_unknown_variable_is_told_and_nothing_more():
    problem = only(None, {"HANDOFF_HTTP_PROT": "1", "PATH": "/bin"})
    assert (problem.severity, problem.code, problem.file) == (
        "warning",
        "unknown-variable",
        "HANDOFF_HTTP_PROT",
    )
    assert problem.hint == "did you mean `HANDOFF_HTTP_PORT`?"


def test_variables_that_kubernetes_makes_are_none_of_ours():
    made = {
        "HANDOFF_SERVICE_HOST": "10.0.0.1",
        "HANDOFF_SERVICE_PORT": "80",
        "HANDOFF_SERVICE_PORT_HTTP": "80",
        "HANDOFF_PORT": "tcp://10.0.0.1:80",
        "HANDOFF_PORT_80_TCP_ADDR": "10.0.0.1",
        "HANDOFF_HTTP_PORT": "tcp://10.0.0.1:80",
        "HANDOFF_HTTP_SERVICE_HOST": "10.0.0.1",
    }
    settings, problems = load(None, made)
    assert settings == Settings()
    assert [each.code for each in problems] == ["no-rules"]


@pytest.mark.parametrize(
    ("content", "code", "at", "message"),
    [
        ("receivers: {default: {sinks: [lgo]}}", "unknown-sink", 31, "no sink has the name `lgo`"),
        (
            "sinks: {m: {email: s, sender: a@b}}\nreceivers: {default: {sinks: [m]}}",
            "missing-key",
            22,
            "has no addresses",
        ),
        ("receivers: {bed manager: {sinks: [log]}}", "missing-key", 12, "no receiver `default`"),
        ("data: d\nsinks: {hook: {webhook: 'https://h/x'}}", "missing-key", 8, "no `receivers`"),
        ("receivers: {default: {sinks: [log], email: [beds]}}", "bad-value", 45, "not an e-mail address"),
        ("sinks: {log: {log: true}, x: {webhook: hooks.example}}", "bad-value", 40, "is not an address"),
        (
            "sinks: {log: {log: true}, x: {alertmanager: ['http://a', 'ftp://b']}}",
            "bad-value",
            58,
            "is not an address",
        ),
        ("sinks: {log: {log: true}, x: {url: http://a}}", "bad-value", 30, "expected a sink"),
        ("link: https://h/{alrt}", "bad-value", 7, "`{alrt}` stands for nothing"),
        ("http: {port: 2575}", "same-port", 14, "`mllp` and `http` cannot both listen on port 2575"),
        (
            "kafka: [{brokers: [b], topic: t, security: sasl}]",
            "missing-key",
            9,
            "needs `user` and `password_file`",
        ),
        ("kafka: [{brokers: [b], topic: t, certificate: c}]", "missing-key", 9, "go together"),
        ("kafka: [{brokers: [b], topic: t, ca: c}]", "bad-value", 9, "of no use"),
        ("kafka: [{brokers: [], topic: t}]", "bad-value", 19, "at least 1"),
        (
            "cluster: {brokers: [b], security: sasl-tls}",
            "missing-key",
            10,
            "needs `user` and `password_file`",
        ),
        ("cluster: {brokers: [b], prefix: a b}", "bad-value", 33, "cannot begin the name of a topic"),
        ("cluster: {brokers: [b], partitions: 0}", "bad-value", 37, "at least 1"),
        ("mllp: {connections: 0}", "bad-value", 21, "at least 1"),
        ("- a", "not-a-mapping", 1, "found a list"),
        ("data", "not-a-mapping", 1, "found `data`"),
    ],
)
def test_settings_that_cannot_be_right_together_are_refused_where_they_stand(content, code, at, message):
    settings, problems = load(content)
    problem = next(each for each in problems if each.code == code and message in each.message)
    assert settings is None
    assert problem.column == at


def test_a_hint_for_a_sink_is_of_its_own_kind():
    problem = only("sinks: {log: {log: true}, x: {webhook: http://a, secret: s}}")
    assert problem.hint == "did you mean `secret_file`?"


def test_ports_of_different_hosts_and_any_free_port_do_not_collide():
    assert load("mllp: {host: 127.0.0.1, port: 99}\nhttp: {host: 127.0.0.2, port: 99}")[0] is not None
    assert load("mllp: {port: 0}\nhttp: {port: 0}")[0] is not None
    assert load("mllp: {host: '::', port: 99}\nhttp: {port: 99}")[0] is None


def test_listening_beyond_this_machine_unprotected_is_a_warning():
    settings, problems = load("mllp: {host: 0.0.0.0}\nhttp: {host: handoff.example}", {"HANDOFF_RULES": "r"})
    assert settings is not None
    assert [(each.code, each.line) for each in problems] == [
        ("unprotected", 1),
        ("unprotected", 2),
        ("unprotected", 2),
    ]
    tls = "tls: {certificate: c, key: k}"
    safe = f"rules: [r]\nmllp: {{host: '::', {tls}}}\nhttp: {{host: '::', {tls}, tokens: t}}"
    assert load(safe)[1] == []
    assert load("rules: [r]\nmllp: {host: '::1'}\nhttp: {host: localhost}")[1] == []


@pytest.mark.parametrize(
    ("sink", "is_open"),
    [
        ("webhook: 'http://hooks.example/x', identifiers: full", True),
        ("webhook: 'https://hooks.example/x', identifiers: full", False),
        ("webhook: 'http://127.0.0.1:9000/x', identifiers: full", False),
        ("webhook: 'http://hooks.example/x'", False),
        ("alertmanager: ['http://localhost:9093', 'http://am:9093'], identifiers: full", True),
    ],
)
def test_patients_in_the_clear_on_their_way_to_another_machine_are_a_warning(sink, is_open):
    settings, problems = load(f"rules: [r]\nsinks: {{x: {{{sink}}}}}\nreceivers: {{default: {{sinks: [x]}}}}")
    assert settings is not None
    assert [(each.code, each.line) for each in problems] == [("unprotected", 2)] * is_open


def test_a_receiver_that_is_to_see_all_counts_for_its_sinks():
    problem = only(
        "sinks: {x: {webhook: 'http://hooks.example/x'}}\n"
        "receivers: {default: {sinks: [x]}, matron: {sinks: [x], identifiers: full}}"
    )
    assert (problem.code, problem.severity, problem.column) == ("unprotected", "warning", 22)


def test_files_that_cannot_be_read_are_named_with_their_keys(tmp_path):
    (tmp_path / "there").write_text("x")
    settings, _ = load(WHOLE.replace("server.pem", str(tmp_path / "there")))
    lines = unreadable_files(settings)
    assert "mllp.tls.key: cannot read server.key: No such file or directory" in lines
    assert "sinks.teams.secret_file: cannot read teams.key: No such file or directory" in lines
    assert "kafka.1.password_file: cannot read p: No such file or directory" in lines
    assert not [line for line in lines if "there" in line or "mllp.tls.certificate" in line]
    assert unreadable_files(Settings()) == []


@given(st.text(max_size=80), st.dictionaries(st.sampled_from([key.variable for key in keys()]), st.text()))
def test_whatever_is_said_becomes_settings_or_problems(content, environment):
    settings, problems = load_settings("x", content.encode(errors="replace"), environment, {})
    assert settings is not None or problems
    assert "".join(map(as_text, problems))


# The schema and the page


def test_the_schema_takes_what_the_models_take():
    Draft202012Validator.check_schema(settings_schema())
    validator = Draft202012Validator(settings_schema())
    assert [error.message for error in validator.iter_errors(yaml.safe_load(WHOLE))] == []
    assert not validator.is_valid({"mllp": {"prot": 1}})
    assert not validator.is_valid({"sinks": {"x": {"url": "http://a"}}})


def test_the_schema_is_printed():
    out = io.StringIO()
    assert main(["schema", "--settings"], io.BytesIO(), out, io.StringIO()) == 0
    assert json.loads(out.getvalue()) == settings_schema()


def test_every_key_is_described():
    def models(model):
        yield model
        for field in model.model_fields.values():
            for each in re.findall(r"monitor\.settings\.model\.(\w+)", str(field.annotation)):
                below = getattr(__import__("monitor.settings.model", fromlist=[each]), each)
                if isinstance(below, type) and issubclass(below, Model):
                    yield from models(below)

    assert [
        (model.__name__, name)
        for model in models(Settings)
        for name, field in model.model_fields.items()
        if not field.description
    ] == []


@pytest.mark.parametrize(("name", "table"), [("keys", settings_keys()), ("variables", variables_table())])
def test_the_tables_of_the_page_are_those_of_the_models(name, table):
    page = PAGE.read_text()
    found = re.search(rf"(<!-- {name}:.*?-->\n)(.*?)(<!-- end -->)", page, re.DOTALL)
    if os.environ.get("UPDATE"):
        PAGE.write_text(page[: found.start(2)] + f"\n{table}\n" + page[found.end(2) :])
        return
    assert found[2] == f"\n{table}\n"


def test_the_examples_of_the_page_load():
    examples = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert examples
    for example in examples:
        assert [as_text(each) for each in load(example)[1]] == []


def test_the_page_names_every_code():
    package = Path(__file__).parents[2] / "monitor" / "settings"
    found = {
        code
        for path in package.glob("*.py")
        for code in re.findall(r'"([a-z]+(?:-[a-z]+)+)"', path.read_text())
    }
    named = set(re.findall(r"`([a-z-]+)`", PAGE.read_text().partition("## Problems")[2]))
    assert (
        found - {"handoff-data", "handoff-monitor", "sasl-tls", "bad-value", "not-a-mapping"} - named == set()
    )
