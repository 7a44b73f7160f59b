"""The picture in the README is what `make picture` draws."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PICTURE = "docs/images/report.svg"
BIN = ".venv/bin/"


def commands(target):
    """The commands that `make` would run for a target, but for the set-up."""
    listed = subprocess.run(
        ["make", "--no-print-directory", "-n", target],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in listed.stdout.splitlines() if line.startswith(("mkdir", BIN + "handoff"))]


def test_the_picture_in_the_readme_is_what_make_picture_draws(tmp_path):
    (tmp_path / "rules").symlink_to(PROJECT / "rules")
    (tmp_path / ".venv").mkdir()
    (tmp_path / BIN.rstrip("/")).symlink_to(Path(sys.executable).parent)
    for command in commands("picture"):
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    assert f"]({PICTURE})" in (PROJECT / "README.md").read_text(encoding="utf-8")
    drawn, shown = tmp_path / PICTURE, PROJECT / PICTURE
    assert drawn.read_bytes() == shown.read_bytes(), (
        "the report has changed: look at what `make picture` draws"
    )
