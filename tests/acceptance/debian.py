"""Real programs for acceptance tests: Debian's packages, unpacked into a cache without being installed, and without root."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "handoff-monitor" / "debian"


def unpacked(package):
    """The folder that holds the files of a package, such as `usr/bin/...`; fetched once. Fails when it cannot be had."""
    folder = CACHE / package
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f".{package}-") as work:
        _download(package, Path(work))
        [archive] = Path(work).glob("*.deb")
        _run(["dpkg-deb", "--extract", archive, Path(work) / "files"], Path(work))
        try:
            (Path(work) / "files").rename(folder)
        except OSError:
            assert folder.exists(), f"{folder} could not be made"  # another test run was first
    return folder


def movable(program, folder):
    """A copy of a program that looks for an absolute folder below its working directory.

    Where Debian puts a program's files is a constant of the program. A path without its first `/` and with one more at its end is
    as long, and means the same below the folder of `unpacked`.
    """
    path = program.with_name(f"{program.name}.movable")
    if not path.exists():
        content = program.read_bytes()
        assert folder.encode() in content, f"{program} does not name {folder}"
        new = program.with_name(f".{program.name}.{os.getpid()}")
        new.write_bytes(content.replace(folder.encode(), f"{folder[1:]}/".encode()))
        new.chmod(0o755)
        new.rename(path)
    return path


def _download(package, work):
    """By the lists that the machine has of its registry, else by fresh ones of our own, which need no root."""
    assert shutil.which("apt-get"), "acceptance tests fetch programs with apt-get, and there is none here"
    download = ["apt-get", "-o", "Acquire::Retries=3", "download", package]
    if _tried(download, work).returncode == 0:
        return
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    ours = [
        "-o",
        f"Dir::State::lists={work}/lists",
        "-o",
        f"Dir::Cache={work}/cache",
        "-o",
        "APT::Sandbox::User=",
    ]
    _run([*download[:3], *ours, "update"], work)
    _run([*download[:3], *ours, *download[3:]], work)


def _tried(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


def _run(command, folder):
    done = _tried(command, folder)
    said = f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    assert done.returncode == 0, f"a program for the acceptance tests could not be fetched:\n{said}"
