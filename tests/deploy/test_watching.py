"""What Prometheus, Alertmanager and Grafana are given speaks of metrics and labels that there are, and is told of in the guide."""

import json
import re

import pytest
import yaml
from compose import PROJECT

from monitor.core.event import EARLIEST
from monitor.metrics import Metrics
from monitor.notify.alertmanager import labels
from monitor.notify.notice import Notice

DEPLOY = PROJECT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/handoff.json").read_text())
OF_SCRAPES = {"job", "instance"}
OF_OTHERS = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity"},
    "process_resident_memory_bytes": set(),
    "process_cpu_seconds_total": set(),
}
"""What Prometheus and the client's collector of the process add."""
WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}
LISTS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


def rule_groups():
    for file in sorted((DEPLOY / "prometheus/rules").glob("*.yml")):
        yield from yaml.safe_load(file.read_text())["groups"]


def rules():
    return [rule for group in rule_groups() for rule in group["rules"]]


def alerts():
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def asked(panel, rate_interval="5m"):
    """The expressions of a panel, with values in the place of variables."""
    for target in panel["targets"]:
        yield target["expr"].replace("$__rate_interval", rate_interval).replace("$rule", ".+")


def queries():
    """Each expression of the dashboard, with its panel's title."""
    return [(panel["title"], query) for panel in panels() for query in asked(panel)]


def known():
    """Metrics by name, each with its labels: what the monitor declares, and what the rules record of it."""
    found = dict(OF_OTHERS)
    for each in Metrics(lambda: EARLIEST).declared:
        found[each.name] = set(each.labels)
        if each.kind == "histogram":
            for part in ("bucket", "sum", "count"):
                found[f"{each.name}_{part}"] = {*each.labels, *(["le"] if part == "bucket" else [])}
    for rule in rules():
        if "record" in rule:
            level = rule["record"].partition(":")[0]
            found[rule["record"]] = set(level.split("_"))
    return found


def parts(expression):
    """The metrics that an expression names, each with the labels in its selector; and the labels that it groups by."""
    text = re.sub(r'"[^"]*"', '""', expression)
    groups = {label.strip() for _, inside in LISTS.findall(text) for label in inside.split(",") if label}
    text = re.sub(r"\[[^\]]*\]", "", LISTS.sub("", text))
    text = re.sub(r"offset \w+", "", text)
    found = []
    for name, call, selector in re.findall(r"([a-zA-Z_:][\w:]*)\s*(\()?(?:\{([^}]*)\})?", text):
        if not call and name not in WORDS:
            found.append((name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))))
        text = text.replace(f"{{{selector}}}", "{}") if selector else text
    return found, groups


def strangers(expression):
    """What an expression speaks of that there is not."""
    metrics, groups = parts(re.sub(r"\b\d[\w.]*", "", expression))
    found, there = [], known()
    for name, selected in metrics:
        if name not in there:
            found.append(name)
        else:
            found += [f"{name}: {label}" for label in selected - there[name] - OF_SCRAPES]
    of_any = set().union(OF_SCRAPES, *(there.get(name, set()) for name, _ in metrics))
    return [*found, *(f"by {label}" for label in groups - of_any)]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_speak_of_metrics_and_labels_that_there_are(rule):
    assert strangers(rule["expr"]) == []


@pytest.mark.parametrize(("title", "query"), queries())
def test_panels_speak_of_metrics_and_labels_that_there_are(title, query):
    assert strangers(query) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("handoff_redy == 0", ["handoff_redy"]),
        ('rate(handoff_events_total{sauce="x"}[5m])', ["handoff_events_total: sauce"]),
        ("sum by (source, ward) (handoff_events_total)", ["by ward"]),
        ("histogram_quantile(0.9, sum by (le) (handoff_delay_seconds_sum))", ["by le"]),
        ('sum(handoff_ready) or up{job=~"a|b"} offset 15m > 1e3', []),
    ],
)
def test_what_there_is_not_would_be_found(expression, wrong):
    assert strangers(expression) == wrong


def test_every_alert_has_a_severity_says_what_is_wrong_and_is_in_the_guide():
    guide = (PROJECT / "docs/guides/operations.md").read_text()
    for name, alert in alerts().items():
        assert alert["labels"]["severity"] in {"info", "warning", "critical"}, name
        assert alert["annotations"]["summary"], name
        assert f"`{name}`" in guide, name
    assert set(re.findall(r"`(Handoff[A-Z]\w+)`", guide)) == set(alerts())


def test_summaries_only_speak_of_labels_that_their_alerts_have():
    for name, alert in alerts().items():
        metrics, groups = parts(re.sub(r"\b\d[\w.]*", "", alert["expr"]))
        of_metrics = set().union(*(known()[metric] for metric, _ in metrics)) | OF_SCRAPES
        used = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
        assert used <= (groups or of_metrics), name


@pytest.mark.parametrize("page", ["guides/operations.md", "guides/running.md", "reference/metrics.md"])
def test_expressions_in_documents_speak_of_metrics_and_labels_that_there_are(page):
    text = (PROJECT / "docs" / page).read_text()
    cells = [cell for cell in re.findall(r"`([^`\n]*handoff_[^`\n]*)`", text) if " " in cell or "(" in cell]
    assert cells
    found = {cell: strangers(cell.replace("\\|", "|")) for cell in cells}
    assert {cell: wrong for cell, wrong in found.items() if wrong} == {}


def test_what_is_recorded_is_named_by_its_labels():
    for rule in rules():
        if "record" in rule:
            _, groups = parts(rule["expr"])
            assert groups <= {rule["record"].partition(":")[0]}


def test_names_are_told_once():
    names = [rule.get("alert") or rule["record"] for rule in rules()]
    assert len(names) == len(set(names))


def test_the_dashboard_is_one_that_grafana_can_show():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert DASHBOARD["uid"]
    for panel in panels():
        assert panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)), panel["title"]
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == variables


def test_panels_do_not_lie_over_each_other():
    taken = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies over {taken[x, y]}"
                taken[x, y] = panel["title"]


def test_alertmanager_routes_by_labels_that_alerts_have():
    config = yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text())
    notice = Notice(
        alert="a", rule="r", severity="warning", state="firing", level=0, at=EARLIEST, sequence=(0, EARLIEST, 0),
        reason=None, summary="s", place="ed",
    )  # fmt: skip
    there = set(labels("default", notice)) | {"job", "instance", "alertname", "source", "sink"}

    def of(route):
        yield from route.get("group_by", [])
        yield from (re.split(r"\W", each, maxsplit=1)[0] for each in route.get("matchers", []))
        for each in route.get("routes", []):
            yield from of(each)

    used = set(of(config["route"]))
    for rule in config["inhibit_rules"]:
        used |= set(rule.get("equal", []))
    assert used <= there
    named = set(re.findall(r"Handoff\w+", json.dumps(config)))
    assert named <= set(alerts())


def test_no_patient_hides_another():
    config = yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text())
    for rule in config["inhibit_rules"]:
        about_patients = any(each.startswith("alert ") for each in rule["target_matchers"])
        named = any(each.startswith("alertname") for each in rule["target_matchers"])
        assert named or (about_patients and "alert" in rule["equal"])
