"""What is done at the machine itself with the data of a service goes into its audit log, as what is done over HTTP does."""

from __future__ import annotations

import getpass
import os
from contextlib import closing
from pathlib import Path

from monitor.runtime.clock import wall
from monitor.runtime.ledger import Ledger


def note(folder: Path, action: str, what: str) -> None:
    """Write down that whoever runs this command does something. Raises `StoreError`."""
    with closing(Ledger(folder)) as ledger:
        ledger.audit(wall(), _user(), "admin", action, what)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run under a number that has no name
        return f"uid {os.getuid()}"
