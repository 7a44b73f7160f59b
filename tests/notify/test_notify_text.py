"""What a nurse reads of an alert."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notices import DUE, FIRING, NOW, later, resolved

from monitor.notify.text import duration, html, line, moment, plain, shown, subject

SECRETS = {
    "full": [],
    "bed": ["1000091", "V-77"],
    "none": ["1000091", "V-77", "k3j2abcdef", "^12", "room 12", "bed A"],
}


def everything(notice, identifiers):
    texts = [
        subject(notice),
        line(notice, identifiers),
        plain(notice, identifiers),
        html([notice], identifiers),
    ]
    return "\n".join([*texts, repr(shown(notice, identifiers))])


def test_an_alert_says_what_did_not_happen_for_whom_since_when_and_what_to_do():
    assert (
        plain(later(at=NOW), "full")
        == """\
Warning alert.
admitted patient still in the emergency department

Patient:    1000091, visit V-77
Place:      Emergency department, ED, room 12, bed A
From:       ed
Since:      Tue 6 Jan 2026 14:43 GMT
Due:        Tue 6 Jan 2026 18:43 GMT
Late by:    2 h, and still open
Told at:    Tue 6 Jan 2026 20:43 GMT
What to do: find a bed
Owner:      bed manager
Rule:       ed-boarding
Runbook:    https://wiki.example/boarding
More:       https://board.example/alerts/0b9d6a4e-0000-5000-8000-000000000001?journey=k3j2abcdef
"""
    )


@pytest.mark.parametrize("identifiers", ["bed", "none"])
@pytest.mark.parametrize(
    "notice", [FIRING, resolved(), later(place="ED^12^A^RGH", from_="ED^12^A", to="4W^12^A")]
)
def test_nobody_reads_more_of_the_patient_than_they_may(notice, identifiers):
    text = everything(notice, identifiers)
    assert [secret for secret in SECRETS[identifiers] if secret in text] == []


def test_a_receiver_of_beds_reads_the_pseudonym_and_the_bed():
    text = plain(FIRING, "bed")
    assert "Patient:    pseudonym k3j2abcdef" in text
    assert "bed A" in text


def test_a_receiver_of_places_gets_no_link_to_the_journey_but_one_to_the_alert():
    assert shown(FIRING, "none").link is None
    assert shown(later(link="https://b.example/{alert}"), "none").link == f"https://b.example/{FIRING.alert}"


def test_what_was_left_out_once_stays_out():
    assert shown(shown(FIRING, "none"), "full") == shown(FIRING, "none")


def test_a_subject_never_tells_who_the_patient_is():
    assert (
        subject(FIRING)
        == "[warning] Emergency department: admitted patient still in the emergency department"
    )


@pytest.mark.parametrize(
    ("notice", "words", "opening"),
    [
        (
            later(level=-1, at=DUE - timedelta(minutes=30)),
            "early warning",
            "Early warning: this is not late yet.",
        ),
        (FIRING, "warning", "Warning alert."),
        (later(level=2, severity="critical"), "critical, level 2", "Critical alert, escalated to level 2."),
        (resolved("met"), "resolved", "Resolved: it came in time."),
        (resolved(delay_seconds=2100.0), "resolved, 35 min late", "Resolved: it came, 35 min late."),
        (resolved("charted_late"), "false alarm", "False alarm: it was in time, and charted late."),
        (resolved("void"), "resolved", "Resolved: it is no longer owed."),
        (
            resolved("withdrawn"),
            "withdrawn",
            "Withdrawn: this alert was wrong: the event it rests on was cancelled or corrected, or the rule was changed.",
        ),
        (resolved("missed"), "closed", "Closed: it never came, and is not waited for any more."),
        (
            resolved("expired"),
            "closed",
            "Closed: it happened and stands in the record; it is not shown any more.",
        ),
        (resolved("heard"), "resolved", "Resolved: it is heard again."),
    ],
)
def test_each_state_and_reason_is_said_in_words(notice, words, opening):
    assert subject(notice).startswith(f"[{words}] ")
    assert plain(notice, "none").startswith(opening + "\n")
    assert opening in html([notice], "none").replace("&#x27;", "'")


def test_one_line_says_until_when_and_what_to_do():
    assert line(later(level=-1, at=DUE - timedelta(minutes=30)), "none") == (
        "[early warning] Emergency department: admitted patient still in the emergency department; "
        "due Tue 6 Jan 2026 18:43 GMT, in 30 min; to do: find a bed"
    )
    assert line(resolved("withdrawn"), "bed") == (
        "[withdrawn] Emergency department, ED, room 12, bed A, pseudonym k3j2abcdef: "
        "admitted patient still in the emergency department; this alert was wrong: "
        "the event it rests on was cancelled or corrected, or the rule was changed"
    )


def test_a_violation_before_any_deadline_is_neither_due_nor_late():
    """As when a patient leaves before the shortest stay, while a longest is still to come."""
    left_early = later(at=DUE - timedelta(hours=3))
    assert "; due " not in line(left_early, "none")
    assert not {"Due:", "Late", "Time"} & set(plain(left_early, "none").split())


def test_who_is_told_late_after_an_outage_is_told_so():
    assert "the monitor was not running" in plain(later(after_outage=True), "none")
    assert "the monitor was not running" not in plain(FIRING, "none")


def test_times_are_those_of_the_place_even_when_an_hour_comes_twice():
    summer_end = DUE.replace(month=10, day=25, hour=0, minute=30)
    assert moment(summer_end, "Europe/London") == "Sun 25 Oct 2026 01:30 BST"
    assert moment(summer_end + timedelta(hours=1), "Europe/London") == "Sun 25 Oct 2026 01:30 GMT"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute"),
        (59.9, "less than a minute"),
        (60, "1 min"),
        (7_500, "2 h 5 min"),
        (90_061, "1 d 1 h"),
    ],
)
def test_lengths_of_time_have_two_units_at_most(seconds, text):
    assert duration(seconds) == text


def test_an_alert_of_a_feed_has_no_patient_and_no_place():
    feed = later(rule="feed", summary="feed PAS is silent", patient="", encounter=None, pseudonym="")
    feed = later(feed, place=None, place_name=None, location=None, trigger_at=None, due_at=None, from_=None)
    assert subject(feed) == "[warning] feed PAS is silent"
    assert "Patient" not in plain(feed, "full")
    assert "More" not in plain(feed, "full")


ANY_TEXT = st.text(st.characters(codec="utf-8")).map("x".__add__)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_text_of_a_feed_or_a_rule_breaks_out_of_its_line(summary, location, patient):
    notice = later(summary=summary, location=location, patient=patient)
    assert len(subject(notice).splitlines()) == len(line(notice, "full").splitlines()) == 1
    assert len(plain(notice, "full").splitlines()) == len(plain(FIRING, "full").splitlines())


def test_no_text_of_a_feed_or_a_rule_becomes_markup():
    page = html(
        [later(summary="<b>", location="<script>", patient='"&', runbook='https://x/"><script>')], "full"
    )
    assert "<script>" not in page
    assert "<b>&lt;b&gt;</b>" in page
