"""The compose files: right by the specification, closed to the network, and nothing in them that is not there."""

import json
import re
import subprocess
import sys
import tomllib

import pytest
from compose import (
    PROJECT,
    SINGLE,
    VARIABLE,
    WHOLE,
    document,
    files,
    named_volumes,
    plain,
    services,
    wrong,
)

from monitor.rulefile import load_registry
from monitor.settings import load_settings

BOTH = pytest.mark.parametrize("path", [WHOLE, SINGLE], ids=["whole", "single"])
ONE_SHOT = {"topics", "keys", "hospital"}


@BOTH
def test_it_is_right_by_the_schema_of_the_compose_specification(path):
    assert wrong(path) == []


def test_a_misspelt_key_would_be_found(tmp_path):
    other = tmp_path / "docker-compose.yml"
    other.write_text(WHOLE.read_text().replace("stop_grace_period", "stop_grace_time", 1))
    assert len(wrong(other)) == 1


@BOTH
def test_every_container_is_hardened(path):
    for name, service in services(path).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert "user" not in service, name  # images that are not of root by themselves


@BOTH
def test_only_the_loopback_is_published_to(path):
    ports = [port for service in services(path).values() for port in service.get("ports", [])]
    assert len(ports) >= 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_kafka_is_on_a_network_that_leads_nowhere_and_publishes_nothing():
    assert document(WHOLE)["networks"]["kafka"] == {"internal": True}
    kafka = services(WHOLE)["kafka"]
    assert kafka["networks"] == ["kafka"]
    assert "ports" not in kafka


@BOTH
def test_every_image_has_an_exact_version(path):
    for name, service in services(path).items():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"]), name


def test_the_image_and_the_package_have_one_version():
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert services(WHOLE)["ingest"]["image"] == f"handoff-monitor:{version}"
    assert f"ARG VERSION={version}\n" in (PROJECT / "docker/Dockerfile").read_text()


@BOTH
def test_what_is_mounted_exists_and_is_read_only_and_volumes_are_declared(path):
    for service in services(path).values():
        assert [file for file in files(service).values() if not file.exists()] == []
        assert all(each.endswith(":ro") for each in service.get("volumes", []) if each.startswith("/"))
    used = set().union(*map(named_volumes, services(path).values()))
    assert used == set(document(path)["volumes"])


@BOTH
def test_what_goes_on_is_watched_and_what_is_waited_for_can_come_true(path):
    every = services(path)
    for name, service in every.items():
        assert (service["healthcheck"] == {"disable": True}) == (name in ONE_SHOT), name
        assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name
        for other, how in service.get("depends_on", {}).items():
            ends = every[other]["restart"] == "no"
            assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy")


def test_every_variable_is_documented_with_its_default():
    lines = (PROJECT / ".env.example").read_text().splitlines()
    documented = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    used = dict(VARIABLE.findall(WHOLE.read_text()))
    assert {name: value.strip('"') for name, value in documented.items()} == used
    assert {name for name, _ in VARIABLE.findall(SINGLE.read_text())} <= set(used)


def test_variables_are_put_in():
    changed = services(WHOLE, {"HANDOFF_WORKERS": "5", "MLLP_PORT": "6661"})
    assert changed["worker"]["deploy"]["replicas"] == "5"
    assert changed["ingest"]["ports"][0] == "127.0.0.1:6661:2575"


@pytest.mark.parametrize("folder", ["compose", "single"])
def test_the_settings_are_right_and_warn_only_that_there_is_no_tls(folder):
    file = PROJECT / "deploy" / folder / "handoff.yaml"
    settings, problems = load_settings(str(file), file.read_bytes(), {}, {})
    assert settings is not None
    assert {problem.code for problem in problems} <= {"unprotected"}
    assert settings.http.port == 8080
    assert settings.mllp.port == 2575


def test_files_that_the_settings_name_are_where_compose_puts_them():
    mounted = set(files(services(WHOLE)["worker"]))
    text = (PROJECT / "deploy/compose/handoff.yaml").read_text()
    named = set(re.findall(r"/etc/handoff/[\w.]+", re.sub(r"#.*", "", text)))
    assert {name for name in named if name != "/etc/handoff/keys"} <= mounted
    assert "keys:/etc/handoff/keys:ro" in services(WHOLE)["worker"]["volumes"]


def test_the_registry_is_that_of_the_hospital_of_the_demo(tmp_path):
    simulate = [sys.executable, "-m", "monitor", "simulate", "--out", tmp_path, "--days", "1"]
    subprocess.run([*simulate, "--format", "hl7", "--no-truth"], check=True, capture_output=True)
    registry = PROJECT / "deploy/compose/microsystems.yaml"
    assert registry.read_text() == (tmp_path / "microsystems.yaml").read_text()
    assert load_registry("r", registry.read_bytes())[1] == []


def test_the_key_for_pseudonyms_is_made_once_and_read_by_nobody_else(tmp_path):
    [code] = services(WHOLE)["keys"]["command"]
    code = code.replace("/etc/handoff/keys", str(tmp_path))
    key = tmp_path / "pseudonyms"
    subprocess.run([sys.executable, "-c", code], check=True)
    first = key.read_text()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert key.read_text() == first
    assert len(first) >= 32
    assert key.stat().st_mode & 0o777 == 0o600


def test_the_settings_of_prometheus_point_at_services_and_ports():
    for path, folder in ((WHOLE, "prometheus"), (SINGLE, "single")):
        every = services(path)
        text = (PROJECT / "deploy" / folder / "prometheus.yml").read_text()
        targets = re.findall(r'"([\w-]+):(\d+)"', text)
        assert {name for name, _ in targets} <= {*every, "localhost"}
        assert {port for name, port in targets if "build" in every.get(name, {})} == {"8080"}
        assert plain(PROJECT / "deploy" / folder / "prometheus.yml")["rule_files"] == [
            "/etc/prometheus/rules/*.yml"
        ]


def test_the_data_source_of_grafana_is_the_prometheus_there():
    sources = plain(PROJECT / "deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert [source["url"] for source in sources] == ["http://prometheus:9090"]
    providers = plain(PROJECT / "deploy/grafana/provisioning/dashboards/handoff.yml")["providers"]
    folder = providers[0]["options"]["path"]
    grafana = services(WHOLE)["grafana"]
    dashboards = files(grafana)[folder]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert json.loads((dashboards / home.removeprefix(f"{folder}/")).read_text())["title"]
