"""The made-up week of `docs/guides/week/`, as a story: one line a message, written out as HL7 v2 and as canonical JSON lines.

`python tests/scenarios/week.py` writes the files again; a test compares them with this story.

A line is: patient, day of March 2025 and time, what happened, where, and options. Capitals are an ADT trigger, lower
case is a milestone. `rec=` is when it was recorded (by default two minutes later), `of=` the time of the event that
a cancel undoes, `twice` sends the message again, `v=` is the visit (by default the patient's number).
"""

import json
from datetime import datetime, timedelta
from pathlib import Path

WEEK = Path(__file__).parents[2] / "docs" / "guides" / "week"

STORY = """
# Two walk-ins: in time, and late at every turn.
101 03T08:05 A04 ED^WAIT
101 03T08:14 triage
101 03T08:40 roomed
101 03T10:50 A03 ED^C02
102 03T09:20 A04 ED^WAIT
102 03T09:52 triage
102 03T10:45 roomed
102 03T11:30 decision_to_admit
102 03T16:20 A06 4W^B1^2 from=ED^C07
102 07T11:15 A03 4W^B1^2
# Septic, treated in time, to intensive care; out again with a signed handoff but late.
103 03T11:02 A04 RESUS^1
103 03T11:06 triage
103 03T11:06 roomed
103 03T11:30 sepsis_recognised likelihood=high shock=false
103 03T11:38 blood_cultures_taken
103 03T11:50 lactate_measured
103 03T12:05 antimicrobial_given indication=sepsis
103 03T12:20 icu_requested reason=sepsis
103 03T12:20 decision_to_admit
103 03T14:55 A06 ICU^1 from=RESUS^1
103 05T10:00 fit_for_discharge
103 05T16:00 handoff_signed
103 05T17:30 A02 5S^A^4 from=ICU^1
103 07T14:00 A03 5S^A^4
# Possible sepsis, forgotten over a shift change; no cultures.
104 03T19:10 A04 ED^WAIT
104 03T19:22 triage
104 03T19:50 roomed
104 03T20:00 sepsis_recognised likelihood=possible shock=false
104 03T21:40 lactate_measured
104 04T00:25 antimicrobial_given indication=sepsis
104 04T01:00 decision_to_admit
104 04T04:10 A06 4W^B2^1 from=ED^C04
# Shock; no antimicrobial was ever charted, and the intensive care bed came late.
105 04T02:15 A04 RESUS^2
105 04T02:18 triage
105 04T02:20 roomed
105 04T02:30 sepsis_recognised likelihood=high shock=true
105 04T02:40 blood_cultures_taken
105 04T02:45 lactate_measured
105 04T03:00 icu_requested reason=sepsis
105 04T10:20 A06 ITU^3 from=RESUS^2
# A night on a trolley.
106 04T10:05 A04 ED^WAIT
106 04T10:16 triage
106 04T10:55 roomed
106 04T13:00 decision_to_admit
106 05T03:20 A06 4W^B1^4 from=ED^COR
# Saturday night: admitted, and nobody says where to; the week ends first.
107 08T19:40 A04 ED^WAIT
107 08T20:05 triage
107 08T20:30 roomed
107 08T22:00 decision_to_admit
# Charted as moved to the ward at night, cancelled: it was the neighbour.
108 03T13:00 A01 ICU^2
108 04T23:15 A02 4W^B2^2 from=ICU^2
108 04T23:40 A12 ICU^2 from=4W^B2^2 of=04T23:15
108 05T08:30 fit_for_discharge
108 05T09:10 handoff_signed
108 05T10:45 A02 4W^B2^2 from=ICU^2
# The neighbour: stepped down at night without a handoff, and back within two days.
109 03T09:00 A01 ICU^4
109 04T21:30 fit_for_discharge
109 04T23:15 A02 4W^B2^3 from=ICU^4 rec=04T23:45
109 06T15:05 A02 ICU^5 from=4W^B2^3
# In time, but charted in the evening.
110 05T08:10 A04 ED^WAIT
110 05T08:20 triage
110 05T08:45 roomed
110 05T09:00 decision_to_admit
110 05T11:40 A06 5S^B^1 from=ED^C01 rec=05T19:45
# The interface sent everything twice.
111 05T10:00 A04 ED^WAIT twice
111 05T10:09 triage twice
111 05T10:30 roomed twice
111 05T12:15 A03 ED^C03 twice
# Unconscious and unknown, so under a temporary number; merged when the family came.
T901 05T14:00 A04 RESUS^1 v=912
T901 05T14:02 triage v=912
T901 05T14:02 roomed v=912
T901 05T14:20 sepsis_recognised likelihood=high shock=true v=912
T901 05T14:25 lactate_measured v=912
112 05T14:35 blood_cultures_taken v=912
112 05T14:50 antimicrobial_given indication=sepsis v=912
112 05T15:30 A40 merges=T901
112 05T15:40 icu_requested reason=sepsis v=912
112 05T16:30 A06 ICU^1 from=RESUS^1 v=912
# A place that the registry does not know.
113 06T09:00 A04 ED^WAIT
113 06T09:10 triage
113 06T09:30 roomed
113 06T11:00 decision_to_admit
113 06T13:00 A06 ESCALATION^7 from=ED^C05
113 07T10:00 A02 4W^B1^1 from=ESCALATION^7
# The test patient of the interface team: verdicts, no alerts.
999 06T10:00 A04 ED^WAIT name=ZZTEST
999 06T10:10 A03 ED^WAIT name=ZZTEST
# Triage charted with the wrong hour, corrected later.
114 06T10:00 A04 ED^WAIT
114 06T11:04 triage id=tri-114
114 06T10:04 triage id=tri-114b replaces=tri-114 rec=06T12:00
114 06T10:40 roomed
114 06T12:45 A03 ED^C02
# Planned surgery, without a hitch.
115 05T07:00 A01 5S^A^1
115 05T09:00 A02 TH2 from=5S^A^1
115 05T11:30 A02 PACU^3 from=TH2
115 05T13:00 A02 5S^A^1 from=PACU^3
115 07T09:30 A02 DL^1 from=5S^A^1
115 07T11:00 A03 DL^1
# Sent home, called back at the door, sent home again.
116 06T14:00 A04 ED^WAIT
116 06T14:12 triage
116 06T14:40 roomed
116 06T16:30 A03 ED^C06
116 06T16:50 A13 ED^C06 of=06T16:30
116 06T19:10 A03 ED^C06
# Major surgery: intensive care by plan, down by day, back after sixty hours.
117 03T07:30 A01 5S^B^2
117 03T08:30 A02 TH1 from=5S^B^2
117 03T13:10 A02 ICU^6 from=TH1
117 05T09:00 fit_for_discharge
117 05T10:15 handoff_signed
117 05T11:00 A02 5S^B^2 from=ICU^6
117 07T23:05 A02 ICU^2 from=5S^B^2
# Left without being seen.
118 08T21:00 A04 ED^WAIT
118 08T21:14 triage
118 08T23:20 A03 ED^WAIT
# Two beds swapped on the ward.
119 04T08:00 A01 4W^B3^1
120 04T09:00 A01 4W^B3^2
119 04T15:00 A17 4W^B3^2 with=120:4W^B3^1
119 06T12:00 A03 4W^B3^2
120 07T13:00 A03 4W^B3^1
# And some who came and went.
121 04T09:10 A04 ED^WAIT
121 04T09:18 triage
121 04T09:55 roomed
121 04T12:20 A03 ED^C01
122 04T16:00 A04 ED^WAIT
122 04T16:11 triage
122 04T17:25 roomed
122 04T20:30 A03 ED^C03
123 05T18:00 A04 ED^WAIT
123 05T18:09 triage
123 05T18:35 roomed
123 05T19:30 decision_to_admit
123 05T22:10 A06 4W^B1^3 from=ED^C02
124 07T11:00 A04 ED^WAIT
124 07T11:10 triage
124 07T11:40 roomed
124 07T13:55 A03 ED^C05
125 08T13:00 A04 ED^WAIT
125 08T13:21 triage
125 08T13:50 roomed
125 08T15:40 A03 ED^C01
126 09T09:00 A04 ED^WAIT
126 09T09:08 triage
126 09T09:40 roomed
126 09T12:30 A03 ED^C02
"""


def lines():
    for line in STORY.splitlines():
        if line and not line.startswith("#"):
            patient, when, what, *rest = line.split()
            options = dict(word.partition("=")[::2] for word in rest)
            place = next((word for word in rest if "=" not in word and word != "twice"), "")
            yield patient, moment(when), what, place, options


def moment(text):
    return datetime.strptime(f"2025-03-{text}", "%Y-%m-%dT%H:%M")


def hl7(number, patient, at, trigger, place, options):
    recorded = moment(options["rec"]) if "rec" in options else at + timedelta(minutes=2)
    occurred = moment(options["of"]) if "of" in options else at
    ward = "E" if place.startswith(("ED", "RESUS")) else "I"
    visit = options.get("v", patient)
    segments = [
        f"MSH|^~\\&|PAS|RGH|HANDOFF|RGH|{recorded:%Y%m%d%H%M%S}||ADT^{trigger}|{number:05}|P|2.5.1",
        f"EVN||{recorded:%Y%m%d%H%M}||||{occurred:%Y%m%d%H%M}",
        pid(patient, options.get("name", "WEEK")),
    ]
    if trigger == "A40":
        return [*segments, f"MRG|{options['merges']}^^^RGH^MR"]
    segments.append(pv1(place, options.get("from", ""), ward, visit))
    if "with" in options:
        other, _, bed = options["with"].partition(":")
        segments += [pid(other, "WEEK"), pv1(bed, place, ward, other)]
    return segments


def pid(patient, name):
    return f"PID|||{patient}^^^RGH^MR||{name}^PATIENT"


def pv1(place, prior, ward, visit):
    return f"PV1||{ward}|{place}|||{prior}" + "|" * 13 + f"V{visit}"


def milestone(number, patient, at, what, options):
    found = {"id": options.get("id", f"m{number:03}"), "type": what, "patient": patient}
    found["encounter"] = f"V{options.get('v', patient)}"
    found["occurred_at"] = f"{at:%Y-%m-%dT%H:%M}:00Z"
    found["precision"] = "minute"
    if "rec" in options:
        found["recorded_at"] = f"{moment(options['rec']):%Y-%m-%dT%H:%M}:00Z"
    if "replaces" in options:
        found["replaces"] = options["replaces"]
    found["source"] = "EPR"
    words = {"true": True, "false": False}
    names = ("likelihood", "shock", "indication", "reason")
    attributes = {name: words.get(options[name], options[name]) for name in names if name in options}
    return json.dumps({**found, **({"attributes": attributes} if attributes else {})})


def files():
    """The texts of `adt.hl7` and `milestones.jsonl`."""
    messages, milestones = [], []
    for number, (patient, at, what, place, options) in enumerate(lines(), start=1):
        copies = 2 if "twice" in options else 1
        if what[0].isupper():
            messages += ["\n".join(hl7(number, patient, at, what, place, options))] * copies
        else:
            milestones += [milestone(number, patient, at, what, options)] * copies
    return {"adt.hl7": "\n\n".join(messages) + "\n", "milestones.jsonl": "\n".join(milestones) + "\n"}


if __name__ == "__main__":
    for name, text in files().items():
        (WEEK / name).write_text(text)
