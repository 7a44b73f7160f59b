"""The rule packs as a page of Markdown, made from the packs themselves."""

import re

import yaml
from journey import pack_text

HEAD = """# Rule packs

The rules that come with the monitor: `--rules pack:ed` names one, and `--rules` can be given several times. Ids are unique, so all packs can be used
together. National variants are packs of their own (`ed-us`, `icu-night-london`): load those that are yours.

They are a start, not advice. Read them with those who answer for the patients, copy the files from `rules/`, and change them. Before a rule may alert
anybody, [replay](../start/first-rule.md) it over your own history. Limits called *local* are numbers to start from; *as commonly cited; check* and *no year
given; check* mean that the source was not read for this page. Which [milestones](events.md#milestones) a pack needs stands at its head.

*Counted* is a rule in shadow mode: it has verdicts and figures, and alerts nobody. The *nurse in charge* is that of the
place where the patient is, or of the one that was left.

<!-- made from rules/*.yaml; UPDATE=1 pytest tests/scenarios writes it -->
"""
ORDER = [
    "ambulance",
    "ed",
    "ed-us",
    "stroke",
    "sepsis",
    "icu",
    "icu-sweden",
    "icu-night-london",
    "icu-night-anzics",
    "icu-night-long",
    "flow",
    "transit",
    "discharge",
    "discharge-us",
    "return",
    "notify",
    "data-quality",
]
"""As a patient meets them."""
UNITS = {
    "s": "seconds",
    "m": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
    "bd": "business days",
    "cd": "calendar days",
}


def page():
    """The whole page."""
    return "\n".join([HEAD, *(section(name) for name in ORDER)])


def section(name):
    """What a pack says of itself, and a row for each of its rules."""
    text = pack_text(name)
    said = [line[1:].strip() for line in text.partition("rules:\n")[0].splitlines()]
    rules = yaml.load(text, yaml.BaseLoader)["rules"]
    head = ["| rule | in words | limit | who, and what to do | source |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([f"## {name}", "", *said, "", *head, *map(row, rules), ""])


def row(rule):
    how = f"{rule['severity']}, counted" if rule.get("mode") == "shadow" else rule["severity"]
    answer = f"{rule['owner']}: {rule['action']}"
    return f"| `{rule['id']}`<br>{how} | {rule['summary']} | {limit(rule)} | {answer} | {rule['source']} |"


def limit(rule):
    """The limit of a rule, in words, from what its file says."""
    match rule:
        case {"expect": _, "not_before": early, "within": within}:
            return f"{lasting(early)} to {lasting(within)} after"
        case {"expect": _, "within": within}:
            return f"within {lasting(within)}"
        case {"require": _}:
            return f"in the {lasting(rule['within'])} before" if "within" in rule else "at any time before"
        case {"forbid": {"at": {"hours": hours}}}:
            return f"not {hours}"
        case {"forbid": _, "within": within}:
            return f"not within {lasting(within)}"
        case {"never": {"at": {"hours": hours}}}:
            return f"not {hours}"
        case {"never": _}:
            return "never"
        case {"stay": _, "at_most": most}:
            return f"at most {lasting(most)}"
        case {"exclusive": _, "longer_than": longest}:
            return f"at most {lasting(longest)}"
        case {"reliability": {"target": target, "over": over, "min": least}}:
            return f"{target} over {lasting(over)}, of {least} cases or more"
        case {"silence": {"for": quiet, "at": {"hours": hours}}}:
            return f"nobody for {lasting(quiet)}, {hours}"
    raise ValueError(rule["id"])


def lasting(text):
    """`1h30m` as `1 hour 30 minutes`."""
    words = [f"{number} {UNITS[unit]}" for number, unit in re.findall(r"(\d+)([a-z]+)", text)]
    return re.sub(r"\b(1 (?:business |calendar )?[a-z]+)s\b", r"\1", " ".join(words))
