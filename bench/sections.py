"""Sections of docs/reference/performance.md that measures of their own write, and the machine that they were taken on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def replaced(page: str, heading: str, section: str) -> str:
    """The page with a section in the place of the one with the same heading, or at its end."""
    before, _, old = page.partition("\n" + heading)
    _, following, after = old.partition("\n## ")
    return f"{before}\n{section}{following}{after}"


def machine() -> str:
    """The machine in a few words."""
    return f"{os.cpu_count()} cores, {processor()}, {platform.system()}, Python {platform.python_version()}"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
