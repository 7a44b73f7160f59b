"""The Kubernetes manifests: right by Kubernetes' own schemas, restricted, and in agreement with each other."""

import re

import kubernetes_validate
import pytest
import yaml
from compose import PROJECT

from monitor.rulefile import load_registry
from monitor.settings import load_settings

FOLDER = PROJECT / "deploy/kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
NOT_MANIFESTS = {"kustomization.yaml", "handoff.yaml", "microsystems.yaml"}
DOCUMENTS = [
    document
    for file in sorted(FOLDER.glob("*.yaml"))
    if file.name not in NOT_MANIFESTS
    for document in yaml.safe_load_all(file.read_text())
]
FOREIGN = {"ServiceMonitor"}
"""Kinds that Kubernetes itself does not know."""


def of_kind(*kinds):
    return [each for each in DOCUMENTS if each["kind"] in kinds]


def named(document):
    return f"{document['kind']}/{document['metadata']['name']}"


WORKLOADS = of_kind("Deployment", "StatefulSet", "Job")


def pod(workload):
    return workload["spec"]["template"]["spec"]


def pod_labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def selects(selector):
    return [workload for workload in WORKLOADS if selector.items() <= pod_labels(workload).items()]


@pytest.mark.parametrize("version", ["1.29", "1.33"])
@pytest.mark.parametrize("document", [each for each in DOCUMENTS if each["kind"] not in FOREIGN], ids=named)
def test_it_is_right_by_the_schema_of_kubernetes(document, version):
    kubernetes_validate.validate(document, version, strict=True)


def test_a_misspelt_key_would_be_found():
    [workload] = [each for each in WORKLOADS if each["metadata"]["name"] == "handoff-worker"]
    wrong = workload | {"spec": workload["spec"] | {"replicaz": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_kustomize_names_every_file():
    assert set(KUSTOMIZATION["resources"]) == {each.name for each in FOLDER.glob("*.yaml")} - NOT_MANIFESTS
    [settings] = KUSTOMIZATION["configMapGenerator"]
    assert set(settings["files"]) == NOT_MANIFESTS - {"kustomization.yaml"}
    [image] = KUSTOMIZATION["images"]
    assert {f"{image['name']}:{image['newTag']}"} == {
        container["image"] for workload in WORKLOADS for container in pod(workload)["containers"]
    }


@pytest.mark.parametrize("workload", WORKLOADS, ids=named)
def test_pods_are_restricted(workload):
    spec = pod(workload)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
    assert all("hostPath" not in volume for volume in spec["volumes"])
    [namespace] = of_kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("workload", WORKLOADS, ids=named)
def test_what_is_mounted_is_a_volume_and_settings_find_their_files(workload):
    spec = pod(workload)
    volumes = {volume["name"] for volume in spec["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    [container] = spec["containers"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert container["args"][-2:] == ["--settings", "/etc/handoff/settings/handoff.yaml"]
    for path in re.findall(r"/(?:etc|var)[\w./]+", (FOLDER / "handoff.yaml").read_text()):
        assert any(path == mount or path.startswith(f"{mount}/") for mount in mounts), path


@pytest.mark.parametrize("workload", [each for each in WORKLOADS if each["kind"] != "Job"], ids=named)
def test_every_service_is_probed_covered_by_a_budget_and_to_be_found(workload):
    [container] = pod(workload)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in (
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ):
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
    labels = workload["spec"]["selector"]["matchLabels"]
    assert selects(labels) == [workload]
    assert [
        each for each in of_kind("PodDisruptionBudget") if each["spec"]["selector"]["matchLabels"] == labels
    ]
    [service] = [each for each in of_kind("Service") if each["spec"]["selector"] == labels]
    assert {each["targetPort"]: each["port"] for each in service["spec"]["ports"]} == ports
    assert service["metadata"]["name"] == workload["metadata"]["name"]
    if workload["kind"] == "StatefulSet":
        assert workload["spec"]["serviceName"] == service["metadata"]["name"]
        assert service["spec"]["clusterIP"] == "None"


def test_network_policies_close_everything_and_open_ports_that_there_are():
    policies = of_kind("NetworkPolicy")
    assert any(each["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} for each in policies)
    for policy in policies:
        selector = policy["spec"]["podSelector"].get("matchLabels")
        assert selector is None or selects(selector), named(policy)
        opened = {port["port"] for rule in policy["spec"].get("ingress", []) for port in rule["ports"]}
        assert opened <= {2575, 8080}
        assert all(rule["from"] for rule in policy["spec"].get("ingress", []))


def test_every_service_is_scraped_under_a_job_that_alerts_know():
    [monitor] = of_kind("ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"selector", "endpoints"}
    labels = monitor["spec"]["selector"]["matchLabels"]
    for service in of_kind("Service"):
        assert labels.items() <= service["metadata"]["labels"].items()
        assert re.fullmatch(r"handoff-.+", service["metadata"]["name"])
        assert "http" in {port["name"] for port in service["spec"]["ports"]}
    assert [each["port"] for each in monitor["spec"]["endpoints"]] == ["http"]


def test_the_settings_and_the_registry_are_right():
    file = FOLDER / "handoff.yaml"
    settings, problems = load_settings(file.name, file.read_bytes(), {}, {})
    assert settings is not None
    assert {problem.code for problem in problems} <= {"unprotected"}
    assert load_registry("r", (FOLDER / "microsystems.yaml").read_bytes())[1] == []
    [workers] = [each for each in WORKLOADS if each["metadata"]["name"] == "handoff-worker"]
    assert workers["spec"]["replicas"] <= settings.cluster.partitions
