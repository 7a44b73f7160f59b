"""What the documents say is true: links lead somewhere, and each command shown gives the output shown."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6}\s+(.*)$", re.MULTILINE)


def documents():
    return [
        path
        for path in sorted(PROJECT.rglob("*.md"))
        if not any(part.startswith(".") or part == "node_modules" for part in path.relative_to(PROJECT).parts)
    ]


def anchors(text):
    """The fragments by which GitHub names the headings of a document."""
    headings = HEADING.findall(FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_leads_somewhere():
    broken = []
    for path in documents():
        for target in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, fragment = target.partition("#")
            there = (path.parent / name) if name else path
            if not there.exists() or (
                fragment
                and there.suffix == ".md"
                and fragment not in anchors(there.read_text(encoding="utf-8"))
            ):
                broken.append(f"{path.relative_to(PROJECT)}: {target}")
    assert broken == []


def examples():
    """(document, command, output) of each `$ handoff ...` in a block fenced as `console`; `\\` continues a command."""
    for path in documents():
        for language, block in FENCE.findall(path.read_text(encoding="utf-8")):
            if language == "console":
                for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                    command, _, output = part.replace("\\\n", "").partition("\n")
                    if command.startswith("handoff ") or "| handoff " in command:
                        yield path.relative_to(PROJECT), command, output.strip("\n")


def as_pattern(output):
    """The output as a pattern in which a line `...` stands for any lines."""
    return "\n".join(".*" if line.strip() == "..." else re.escape(line) for line in output.split("\n"))


def test_every_command_shown_gives_the_output_shown(tmp_path):
    for path in PROJECT.iterdir():
        if not path.name.startswith("."):
            (tmp_path / path.name).symlink_to(path)
    bin_ = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{bin_}:{os.environ['PATH']}", "COLUMNS": "100", "NO_COLOR": "1"}
    wrong = []
    for document, command, output in examples():
        if any("../shared" in word and not (PROJECT / word).exists() for word in shlex.split(command)):
            continue
        found = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        if found.returncode > 1 or (
            output and not re.fullmatch(as_pattern(output), found.stdout.strip("\n"), re.DOTALL)
        ):
            wrong.append(f"{document}: $ {command} (exit code {found.returncode})\n{found.stdout}")
    assert not wrong, "\n".join(wrong)
