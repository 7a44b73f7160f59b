"""The image's steps, run without a container engine; the manifests as kustomize puts them together."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from debian import unpacked

PROJECT = Path(__file__).parents[2]
DOCKERFILE = (PROJECT / "docker/Dockerfile").read_text()
UV = Path(sys.executable).with_name("uv")
pytestmark = pytest.mark.acceptance


def steps(stage):
    """The `COPY`s from the context and the `RUN uv`s of a stage, in order."""
    for kind, rest in re.findall(r"^(COPY|RUN) (?!--from)(.*)$", stage, re.MULTILINE):
        if kind == "COPY" or rest.startswith("uv "):
            yield kind, rest.split()


def test_what_is_copied_is_enough_to_install_what_is_locked(tmp_path):
    build = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1]
    source, made = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    uv = UV if UV.exists() else shutil.which("uv")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"UV_PROJECT_ENVIRONMENT": str(made), "UV_PYTHON": sys.executable}
    environment.pop("VIRTUAL_ENV", None)
    for kind, words in steps(build):
        if kind == "RUN":
            subprocess.run([uv, *words[1:], "--quiet"], cwd=source, env=environment, check=True)
            continue
        *names, target = words
        for name in names:
            copied = source / (target if (PROJECT / name).is_dir() else f"{target}{name}")
            if (PROJECT / name).is_dir():
                shutil.copytree(PROJECT / name, copied, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(PROJECT / name, copied)
    shutil.rmtree(source)  # the final image has none of it
    entrypoint = made / "bin/handoff"
    said = subprocess.run(
        [entrypoint, "check", "pack:ed"], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert (said.returncode, said.stdout[-12:]) == (0, "no problems\n"), said.stderr
    tools = subprocess.run([made / "bin/python", "-c", "import pytest"], capture_output=True, env=environment)
    assert tools.returncode != 0, "the tools of developers are in the image"


def test_kustomize_puts_the_manifests_together():
    kubectl = unpacked("kubernetes-client") / "usr/bin/kubectl"
    done = subprocess.run(
        [kubectl, "kustomize", PROJECT / "deploy/kubernetes"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    documents = list(yaml.safe_load_all(done.stdout))
    [settings] = [each for each in documents if each["kind"] == "ConfigMap"]
    assert settings["metadata"]["name"] != "handoff-settings"
    assert set(settings["data"]) == {"handoff.yaml", "microsystems.yaml"}
    for document in documents:
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == "handoff", document["metadata"]
        if "template" in document.get("spec", {}):
            volumes = document["spec"]["template"]["spec"]["volumes"]
            assert settings["metadata"]["name"] in [each.get("configMap", {}).get("name") for each in volumes]
