"""`python -m monitor` is `handoff`."""

from monitor.cli import entry

entry()
