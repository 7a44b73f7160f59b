"""`handoff check` and `handoff schema`."""

import json

import jsonschema
import pytest

from monitor.commands.check import _OF_SETTINGS
from monitor.core.place import Registry
from monitor.settings import Settings

GOOD = "rules:\n  - {id: a, summary: a, severity: info, never: {to: icu}}\n"
BAD = "rules:\n  - id: a\n    summary: a\n    severity: info\n    when: {type: x}\n    expcet: {type: y}\n    within: 1h\n"
REGISTRY = "microsystems:\n  - {id: ward}\n"


def test_success_is_one_line(handoff, write):
    assert handoff("check", write("a.yaml", GOOD)) == (0, "1 file, 1 rule: no problems\n", "")


def test_a_problem_is_shown_where_it_is(handoff, write):
    assert handoff("check", write("a.yaml", BAD)) == (
        1,
        (
            "a.yaml:6:5: error[unknown-key]: unknown key `expcet`\n"
            "  |\n"
            "6 |     expcet: {type: y}\n"
            "  |     ^^^^^^\n"
            "  = hint: did you mean `expect`?\n"
        ),
        "",
    )


def test_problems_of_all_files_are_shown_in_one_run(handoff, write):
    write("rules/b.yaml", BAD.replace("id: a", "id: b"))
    write("rules/deep/a.yaml", BAD)
    found = handoff("check", "rules")
    assert found.out.count("error[unknown-key]") == 2


def test_places_are_looked_up_in_the_registry(handoff, write):
    name = write("a.yaml", GOOD)
    found = handoff("check", name, "--microsystems", write("microsystems.yaml", REGISTRY))
    assert found.code == 1
    assert "warning[unknown-place]" in found.out


def test_a_broken_registry_is_a_problem_too(handoff, write):
    found = handoff("check", write("a.yaml", GOOD), "--microsystems", write("m.yaml", "microsystem: []\n"))
    assert found.code == 1
    assert found.out.startswith("m.yaml:1:1: error[unknown-key]")


def test_a_registry_is_checked_by_its_name(handoff, write):
    assert handoff("check", write("microsystems.yaml", REGISTRY)).out == "1 file, 0 rules: no problems\n"
    found = handoff("check", write("microsystems.yaml", "microsystem: []\n"))
    assert (found.code, found.out.startswith("microsystems.yaml:1:1: error[unknown-key]")) == (1, True)


SETTINGS = "rules: [pack:ed]\nhttp: {port: 8081}\n"
TOKENS = "tokens:\n  - {name: a, role: viewer, token: %s}\n"


@pytest.mark.parametrize("name", ["handoff.yaml", "settings-of-the-trial.yaml"])
def test_settings_are_checked_as_such(handoff, write, name):
    assert handoff("check", write(name, SETTINGS)) == (0, "1 file, 0 rules: no problems\n", "")
    found = handoff("check", write(name, SETTINGS + "data: d\nsinkz: {}\n"))
    assert found.code == 1
    assert found.out.startswith(f"{name}:4:1: error[unknown-key]")


def test_advice_about_settings_is_shown_and_fails_nothing(handoff, write):
    found = handoff("check", write("handoff.yaml", "http: {host: 0.0.0.0}\n"), write("a.yaml", GOOD))
    assert found.code == 0
    assert "handoff.yaml:1:14: warning[unprotected]" in found.out


@pytest.mark.parametrize("name", ["tokens.yaml", "who-may.yaml"])
def test_a_tokens_file_is_checked_and_nothing_of_it_is_shown(handoff, write, name):
    assert handoff("check", write(name, TOKENS % "sixteen-letters-or-more")).code == 0
    found = handoff("check", write(name, TOKENS % "tiny-secret"))
    assert (found.code, found.err) == (1, "")
    assert found.out.startswith(f"{name}:2:36: error[bad-value]: a token has at least 16 characters")
    assert "tiny-secret" not in found.out


def test_settings_are_known_by_the_keys_that_only_they_have():
    assert frozenset(Settings.model_fields) - set(Registry.model_fields) - {"rules"} == _OF_SETTINGS


def test_all_kinds_are_checked_in_one_run(handoff, write):
    paths = [
        write("a.yaml", GOOD),
        write("microsystems.yaml", REGISTRY),
        write("handoff.yaml", SETTINGS),
        write("tokens.yaml", TOKENS % "sixteen-letters-or-more"),
    ]
    assert handoff("check", *paths).out == "4 files, 1 rule: no problems\n"


def test_json_is_a_problem_a_line(handoff, write):
    found = handoff("check", "--format", "json", write("a.yaml", BAD))
    assert [json.loads(line)["code"] for line in found.out.splitlines()] == ["unknown-key"]
    assert handoff("check", "--format", "json", write("a.yaml", GOOD)) == (0, "", "")


def test_github_marks_the_line(handoff, write):
    found = handoff("check", "--format", "github", write("a.yaml", BAD))
    assert found.out == (
        "::error file=a.yaml,line=6,col=5,endColumn=11,title=unknown-key::"
        "unknown key `expcet` (did you mean `expect`?)\n"
    )


def test_a_file_that_is_missing_is_work_that_could_not_be_done(handoff):
    assert handoff("check", "gone.yaml") == (
        3,
        "",
        "handoff: cannot read gone.yaml: No such file or directory\n",
    )


@pytest.mark.parametrize("command", [["check", "empty"], ["check", ""], ["replay", "x", "--rules", "empty"]])
def test_a_path_without_rule_files_is_wrong_usage(handoff, write, command):
    write("empty/notes.txt", "")
    write("other.yaml", GOOD)
    found = handoff(*command)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("handoff: no rule files in `")


def test_a_replay_needs_a_rule(handoff, write):
    rules = write("none.yaml", "rules: []\n")
    assert handoff("replay", "--rules", rules, "-") == (
        2,
        "",
        "handoff: replay: there is no rule in none.yaml\n",
    )


def test_messages_in_the_place_of_rules_are_not_shown(handoff, write):
    event = '{"id":"1","type":"a","patient":"Jane","occurred_at":"2024-01-01T10:00:00Z"}\n'
    write("events.jsonl", event)
    write("adt.hl7", "MSH|^~\\&|A\rPID|1||Jane\r")
    write("framed.hl7", "\x0bMSH|^~\\&|A\rPID|1||Jane\r\x1c\r")
    rules = write("rules.yaml", GOOD)
    for wrong in ("events.jsonl", "adt.hl7", "framed.hl7"):
        for command in (
            ["check", wrong],
            ["replay", "--rules", wrong, "--", rules],
            ["replay", "--rules", rules, "--microsystems", wrong, "events.jsonl"],
            ["replay", "--rules", rules, "--mapping", wrong, "events.jsonl"],
        ):
            found = handoff(*command)
            assert found.code == 1
            assert "error[not-yaml]: this looks like " in found.out + found.err
            assert "Jane" not in found.out + found.err


def test_rules_may_come_from_stdin(handoff):
    assert handoff("check", "-", stdin=GOOD.encode()).code == 0


@pytest.mark.parametrize(
    ("options", "good", "bad"),
    [
        (
            [],
            {"rules": [{"id": "a", "summary": "a", "severity": "info", "never": {}}]},
            {"rules": [{"id": "a"}]},
        ),
        (["--registry"], {"microsystems": [{"id": "icu"}]}, {"microsystems": [{"name": "icu"}]}),
    ],
)
def test_the_schema_knows_good_from_bad(handoff, options, good, bad):
    code, out, err = handoff("schema", *options)
    assert (code, err) == (0, "")
    schema = json.loads(out)
    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema)
