"""What `deploy/` gives to Prometheus and Alertmanager, judged by their own tools."""

import subprocess
import sys
from pathlib import Path

import pytest
from debian import unpacked

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"
RULES = sorted((DEPLOY / "prometheus/rules").glob("*.yml"))
pytestmark = pytest.mark.acceptance


def promtool(*arguments):
    program = unpacked("prometheus") / "usr/bin/promtool"
    return subprocess.run([program, *arguments], capture_output=True, text=True)


def amtool(*arguments):
    program = unpacked("prometheus-alertmanager") / "usr/bin/amtool"
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize("folder", ["prometheus", "single"])
def test_the_settings_of_prometheus_are_right_and_name_the_rules(folder, tmp_path):
    text = (DEPLOY / folder / "prometheus.yml").read_text()
    assert "/etc/prometheus/rules/*.yml" in text
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus", str(DEPLOY / "prometheus")))
    done = promtool("check", "config", "--lint=all", "--lint-fatal", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(str(file) in done.stdout for file in RULES)


def test_the_rules_are_right_and_none_is_there_twice():
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "file", sorted((DEPLOY / "prometheus/tests").glob("*.yml")), ids=lambda file: file.stem
)
def test_the_rules_fire_when_they_should_and_only_then(file):
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_about_the_monitor_is_seen_to_fire():
    sys.path.insert(0, str(PROJECT / "tests/deploy"))
    from test_watching import alerts

    tried = "".join(file.read_text() for file in (DEPLOY / "prometheus/tests").glob("*.yml"))
    assert [
        name for name in alerts() if f"alertname: {name}\n" not in tried and f'"{name}"' not in tried
    ] == []


def test_the_settings_of_alertmanager_are_right():
    code, said = amtool("check-config", DEPLOY / "alertmanager/alertmanager.yml")
    assert code == 0, said


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alert=a rule=r severity=critical receiver=default place=ed level=0", "patients-critical"),
        ("alert=a rule=r severity=warning receiver=default place=ed level=0", "patients"),
        ("alert=a rule=r severity=info receiver=default", "patients-info"),
        ("alertname=HandoffWatchdog severity=info", "watchdog"),
        ("alertname=HandoffDown severity=critical job=handoff-run", "monitor-critical"),
        ("alertname=HandoffFeedSilent severity=warning source=PAS", "monitor"),
    ],
)
def test_alerts_go_to_their_receivers(labels, receiver):
    config = f"--config.file={DEPLOY / 'alertmanager/alertmanager.yml'}"
    assert amtool("config", "routes", "test", config, *labels.split()) == (0, receiver)
