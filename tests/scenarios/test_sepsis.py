"""The worked example of docs/guides/event-logs.md gives the known answers of the public log."""

import io
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from monitor.cli import main

PROJECT = Path(__file__).parents[2]
EXAMPLE = PROJECT / "docs" / "guides" / "sepsis"
LOG = PROJECT.parent / "shared" / "data" / "sepsis" / "sepsis.csv.gz"

pytestmark = pytest.mark.skipif(not LOG.exists(), reason=f"the public log is not here: {LOG}")


def replay(*options):
    out, err = io.StringIO(), io.StringIO()
    files = ["--rules", str(EXAMPLE / "rules.yaml"), "--mapping", str(EXAMPLE / "mapping.yaml"), str(LOG)]
    assert main(["replay", *options, *files], io.BytesIO(), out, err) == 0
    return out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def counts():
    lines = replay("--format", "json")[0].splitlines()
    cases = [msgspec.json.decode(line) for line in lines]
    return Counter((case["rule"], case["verdict"]) for case in cases)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("triage-to-antibiotics", {"met": 342, "late": 481, "missed": 226}),
        ("registration-to-ward", {"met": 810 - 212, "late": 212, "missed": 240}),
        ("back-within-7-days", {"violated": 45, "met": 782 - 45}),
        ("back-within-30-days", {"violated": 116, "met": 782 - 116}),
        ("back-at-all", {"violated": 294, "open": 782 - 294}),
    ],
)
def test_the_figures_are_those_that_were_counted_without_the_engine(counts, rule, expected):
    assert {verdict: count for (of, verdict), count in counts.items() if of == rule} == expected


def test_the_guide_shows_what_is_printed():
    guide = (EXAMPLE.parent / "event-logs.md").read_text(encoding="utf-8")
    out, err = replay()
    assert out + err in guide


def test_once_two_years_are_over_nobody_is_open():
    out, _ = replay("--until", "2018-01-01T00:00:00Z")
    [line] = [line for line in out.splitlines() if line.startswith("back-at-all")]
    assert line.split()[:3] == ["back-at-all", "782", "488"]
