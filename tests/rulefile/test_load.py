"""What is made of valid files, and what holds for any bytes at all."""

import json
import string
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.rule import CountRule, ExpectRule, NeverRule, StayRule, StepsRule
from monitor.core.text import CalendarDuration, duration_text, parse_duration
from monitor.rulefile import Problem, as_github, as_json, as_text, load_registry, load_rules

HERE = Path(__file__).parent
VALID = (HERE / "ok" / "every-form.yaml").read_bytes()
REGISTRY = (HERE / "hospital.yaml").read_bytes()
ONE = "rules:\n- {id: %s, summary: s, severity: info, never: {type: x}}\n"


def rules_of(text: str) -> dict[str, Any]:
    rules, problems = load_rules([("rules.yaml", text.encode())])
    assert [as_text(problem) for problem in problems] == []
    return {rule.id: rule for rule in rules}


def codes(*files: tuple[str, bytes]) -> list[tuple[str, int, str]]:
    return [(each.file, each.line, each.code) for each in load_rules(files)[1]]


def never_where(text: str) -> dict[str, Any]:
    rule = rules_of(f"rules: [{{id: a, summary: s, severity: info, never: {{where: {text}}}}}]")["a"]
    assert isinstance(rule, NeverRule)
    return rule.never.where


def test_every_form_is_read_as_it_was_written() -> None:
    rules = rules_of(VALID.decode())
    boarding = rules["ed-boarding"]
    assert isinstance(boarding, ExpectRule)
    assert boarding.within == timedelta(hours=4)
    assert boarding.escalate[1].after == timedelta(0)
    assert boarding.escalate[0].after == timedelta(minutes=-30)
    assert boarding.labels == {"team": "flow", "tier": "2", "paged": "true"}
    assert boarding.when.to == ["icu", "ward-*", "tag:critical-care", "meso:surgery", None]
    assert boarding.active is not None
    assert boarding.active.tz == ZoneInfo("Europe/London")
    contact = rules["discharge-contact"]
    assert contact.within == CalendarDuration(2, business=True)
    assert contact.when.to is None
    assert "to" in contact.when.model_fields_set
    assert isinstance(rules["bounces"], CountRule)
    assert rules["bounces"].at_most == 3
    assert isinstance(rules["length-of-stay"], StayRule)
    assert rules["length-of-stay"].escalate == boarding.escalate
    assert isinstance(rules["surgical-pathway"], StepsRule)
    assert rules["boarding-reliability"].reliability.target == pytest.approx(0.95)
    assert rules["triage-reliability"].reliability.target == pytest.approx(0.95)


def test_scalars_are_what_they_look_like_and_not_what_yaml_1_1_makes_of_them() -> None:
    where = never_where("{bed: 010, unit: NO, span: 1:30, day: 2026-01-01, on: true, hex: 0x1F, none: 1_000}")
    assert where == {
        "bed": "010", "unit": "NO", "span": "1:30", "day": "2026-01-01", "on": True, "hex": "0x1F", "none": "1_000",
    }  # fmt: skip


def test_only_unquoted_numbers_and_booleans_are_numbers_and_booleans() -> None:
    where = never_where(
        """{a: 2, b: "2", c: -2.5, d: True, e: 'true', f: 1e3, g: "", h: [1, '1'], i: {ge: 3, ne: "3"}}"""
    )
    assert where["a"] == 2
    assert where["b"] == "2"
    assert where["c"] == -2.5
    assert where["d"] is True
    assert where["e"] == "true"
    assert where["f"] == 1000.0
    assert where["g"] == ""
    assert where["h"] == [1, "1"]
    assert (where["i"].ge, where["i"].ne) == (3, "3")


def test_quoted_null_is_a_text_and_unquoted_null_is_no_place() -> None:
    rules = rules_of(
        """rules: [{id: a, summary: s, severity: info, never: {from: "null", to: [~, null, Null, "~"]}}]"""
    )
    assert rules["a"].never.from_ == "null"
    assert rules["a"].never.to == [None, None, None, "~"]


def test_rules_come_in_the_order_of_files_and_lines() -> None:
    rules, problems = load_rules([("b.yaml", (ONE % "z").encode()), ("a.yaml", (ONE % "a").encode())])
    assert problems == []
    assert [rule.id for rule in rules] == ["z", "a"]


def test_an_id_is_unique_across_files_and_the_first_rule_stands() -> None:
    rules, (problem,) = load_rules([("a.yaml", (ONE % "same").encode()), ("b.yaml", (ONE % "same").encode())])
    assert len(rules) == 1
    assert (problem.file, problem.line, problem.column, problem.code) == ("b.yaml", 2, 8, "duplicate-id")
    assert problem.hint == "the first is at a.yaml:2:8"


def test_a_reliability_may_be_of_rules_of_another_file() -> None:
    target = b"rules: [{id: r, summary: s, severity: info, reliability: {of: [wait], target: 95%, over: 1d}}]"
    wait = b"rules: [{id: wait, summary: s, severity: info, stay: ed, at_most: 4h}]"
    assert codes(("a.yaml", target), ("b.yaml", wait)) == []
    assert codes(("a.yaml", target)) == [("a.yaml", 1, "unknown-rule")]


def test_one_bad_file_does_not_hide_the_problems_of_another() -> None:
    found = codes(("b.yaml", b"rules: ["), ("c.yaml", b"rules: [{}, 3]"), ("a.yaml", b"\xff"))
    assert [(file, code) for file, _, code in found] == [
        ("a.yaml", "bad-encoding"),
        ("b.yaml", "yaml-syntax"),
        ("c.yaml", "missing-key"),
        ("c.yaml", "missing-key"),
        ("c.yaml", "missing-key"),
        ("c.yaml", "no-form"),
        ("c.yaml", "bad-value"),
    ]


def test_valid_rules_are_returned_beside_invalid_ones() -> None:
    text = ONE % "good" + "- {id: bad, summary: s, severity: info, never: 3}\n"
    rules, problems = load_rules([("x.yaml", text.encode())])
    assert [rule.id for rule in rules] == ["good"]
    assert [problem.line for problem in problems] == [3]


def test_a_problem_inside_an_alias_is_said_once_and_where_it_is_written() -> None:
    text = ONE % "a" + "- {id: b, summary: s, severity: info, never: &p {typ: x}}\n"
    text += "- {id: c, summary: s, severity: info, never: *p}\n"
    assert codes(("x.yaml", text.encode())) == [("x.yaml", 3, "unknown-key")]


def test_columns_count_characters_and_lines_end_as_editors_end_them() -> None:
    text = "rules:\r\n- {id: 'é😀\u2028', summary: \"\u0085\", severity: bad, never: {}}\r\n- 3"
    first, second = load_rules([("x.yaml", text.encode())])[1]
    assert (first.line, first.column, first.end_column) == (2, 39, 42)
    assert (second.line, second.column) == (3, 3)


def test_nothing_is_checked_against_a_registry_that_lists_no_microsystems() -> None:
    registry, _ = load_registry("r.yaml", b"timezone: Europe/London")
    text = b"rules: [{id: a, summary: s, severity: info, stay: ward, at_most: 1h}]"
    assert load_rules([("x.yaml", text)], registry)[1] == []


def test_unknown_places_are_warnings_and_the_rule_stands() -> None:
    registry, _ = load_registry("r.yaml", REGISTRY)
    text = b"rules: [{id: a, summary: s, severity: info, stay: kind:hospice, at_most: 1h}]"
    rules, (problem,) = load_rules([("x.yaml", text)], registry)
    assert problem.severity == "warning"
    assert len(rules) == 1


def test_the_registry_is_read_as_it_was_written() -> None:
    registry, problems = load_registry("hospital.yaml", REGISTRY)
    assert problems == []
    assert registry is not None
    assert registry.place("RESUS^1^010^STE^O^C^A^2") == "ed"
    assert registry.within("ward-4w", "hospital")
    assert registry.source("EPIC/STE").update_moves
    assert registry.source("LAB").silent_after == timedelta(hours=1)


def test_json_holds_every_field_on_one_line() -> None:
    (problem,) = load_rules([("x.yaml", b"rules: 3")])[1]
    assert "\n" not in as_json(problem)
    assert json.loads(as_json(problem)) == {
        "file": "x.yaml",
        "line": 1,
        "column": 8,
        "end_column": 9,
        "severity": "error",
        "code": "bad-value",
        "message": "expected a list; found `3`",
        "hint": "write [3]",
        "excerpt": "rules: 3",
    }


def test_github_commands_escape_what_would_end_them() -> None:
    (problem,) = load_rules([("a,b:c.yaml", b"rules: 100%")])[1]
    assert as_github(problem) == (
        "::error file=a%2Cb%3Ac.yaml,line=1,col=8,endColumn=12,title=bad-value::"
        "expected a list; found `100%25` (write [100%25])"
    )


def test_a_thousand_rules_load_in_seconds() -> None:
    rule = VALID.decode().partition("rules:\n")[2].partition("\n\n")[0].replace("&ladder", "")
    text = "rules:\n" + "\n".join(rule.replace("ed-boarding", f"rule-{number}") for number in range(1000))
    started = perf_counter()
    rules, problems = load_rules([("many.yaml", text.encode())])
    assert perf_counter() - started < 20
    assert problems == []
    assert len(rules) == 1000


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 50_000, "!" * 50_000]
)
def test_deep_nesting_is_one_problem(text: str) -> None:
    assert len(load_rules([("x.yaml", text.encode())])[1]) == 1


def test_depth_through_aliases_is_counted() -> None:
    levels = "".join(f"- &a{n} [[[[[*a{n - 1}]]]]]\n" for n in range(1, 30))
    (problem,) = load_rules([("x.yaml", f"- &a0 x\n{levels}".encode())])[1]
    assert problem.code == "too-deep"


def sound(problems: list[Problem], name: str, content: bytes) -> None:
    """What holds for any problems of any file."""
    text = content.decode("utf-8-sig", errors="replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert problems == sorted(problems, key=lambda each: (each.file, each.line, each.column))
    assert len(set(problems)) == len(problems)
    for each in problems:
        assert each.file == name
        if each.code == "not-yaml":
            assert as_text(each).count("\n") == 1
            continue
        assert each.excerpt == lines[each.line - 1]
        assert 1 <= each.column <= len(each.excerpt) + 1
        assert each.end_column > each.column
        assert each.message.isprintable()
        assert len(as_text(each).split("\n")) == (4 if each.hint is None else 5)
        assert json.loads(as_json(each))["code"] == each.code
        assert "\n" not in as_github(each)


def judge(content: bytes) -> None:
    registry, problems = load_registry("x.yaml", content)
    sound(problems, "x.yaml", content)
    assert registry is not None or problems
    known, _ = load_registry("hospital.yaml", REGISTRY)
    rules, problems = load_rules([("x.yaml", content)], known)
    sound(problems, "x.yaml", content)
    assert rules or problems or content.strip()


@given(st.binary(max_size=200))
def test_any_bytes_give_rules_or_problems(content: bytes) -> None:
    judge(content)


@given(st.text(max_size=200))
def test_any_text_gives_rules_or_problems(text: str) -> None:
    judge(text.encode(errors="surrogatepass"))


@given(st.text(alphabet="rules: [{}]-\n,&*a\"'|>?!%@#\t~<", max_size=80))
def test_any_yaml_punctuation_gives_rules_or_problems(text: str) -> None:
    judge(text.encode())


@given(st.data())
def test_a_damaged_file_gives_rules_or_problems(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([VALID, REGISTRY])).decode()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(st.text(alphabet=string.printable, max_size=6)) + text[end:]
    judge(text.encode())


VALUES = st.recursive(
    st.none()
    | st.sampled_from(
        ["x", "3", "3h", "true", "-5m", "2bd", "22:00-07:00", "sat", "kind:icu", "|one|", "|list|"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "summary",
                    "severity",
                    "when",
                    "expect",
                    "within",
                    "unless",
                    "escalate",
                    "after",
                    "steps",
                    "name",
                    "match",
                    "stay",
                    "at_most",
                    "where",
                    "not",
                    "any",
                    "at",
                    "hours",
                    "to",
                    "same",
                    "never",
                    "count",
                    "silence",
                    "for",
                    "reliability",
                    "of",
                    "target",
                    "|one|",
                    "|list|",
                    "|mapping|",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=4))
def test_any_structure_gives_rules_or_problems(rules: list[Any]) -> None:
    judge(json.dumps({"rules": rules}).encode())


@given(st.integers(-(10**9), 10**9))
def test_durations_survive_being_written(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    text = duration_text(duration)
    assert (-parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)) == duration
