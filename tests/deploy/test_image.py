"""The image: what goes into it, and as whom it runs."""

import re
import subprocess

from compose import PROJECT

DOCKERFILE = (PROJECT / "docker/Dockerfile").read_text()
STAGES = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]


def copied(stage):
    """What a stage takes from the build context."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", stage, re.MULTILINE)
    return {name for line in lines for name in line.split()}


def allowed():
    """What goes to the builder, by .dockerignore."""
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def test_the_builder_gets_what_is_copied_and_nothing_else():
    assert copied(STAGES[0]) == allowed()
    assert copied(STAGES[1]) == set()
    assert all((PROJECT / name).exists() for name in allowed())


def test_all_that_is_versioned_and_may_hold_secrets_or_data_stays_out():
    kept = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    going = {line for line in kept.splitlines() if line.split("/")[0] in allowed()}
    assert going
    assert not [line for line in going if re.search(r"\.env|secret.*\.(txt|key|pem)|\.sqlite", line)]


def test_what_is_in_it_has_exact_versions():
    assert re.search(r"^ARG PYTHON=python:\d+\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert all(stage.startswith("${PYTHON}") for stage in STAGES)
    assert re.findall(r"pip install .*?(uv\S*)$", DOCKERFILE, re.MULTILINE) == ["uv==0.13.9"]
    assert "uv sync --frozen --no-dev --no-editable" in STAGES[0]


def test_it_runs_as_a_numbered_user_without_a_shell_and_says_what_it_is():
    final = STAGES[1]
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["10001:10001"]
    assert "/usr/sbin/nologin" in final
    assert "HEALTHCHECK" in final
    assert 'ENTRYPOINT ["handoff"]' in final
    for label in ("title", "description", "version", "revision", "created", "licenses"):
        assert f"org.opencontainers.image.{label}=" in final
