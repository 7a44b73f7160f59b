"""The file that says how the columns of a table make events."""

from __future__ import annotations

from monitor.formats.table import Mapping
from monitor.rulefile.document import read_mapping
from monitor.rulefile.judge import judge
from monitor.rulefile.problem import Problem, in_order


def load_mapping(name: str, content: bytes) -> tuple[Mapping | None, list[Problem]]:
    """The mapping in a file, and what is wrong with it, sorted. None with an error. Never raises."""
    source, root, problems = read_mapping(name, content)
    if root is None:
        return None, in_order(problems)
    mapping, wrong = judge(Mapping, root, source)
    return (None if problems else mapping), in_order([*problems, *wrong])
