"""Who may import what. The direction of our own imports is kept by import-linter (`make check`)."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PRODUCT = PROJECT / "monitor"

# Packages that few may import, and those few, as files or folders below `monitor/`.
RESERVED = {
    "aiokafka": {"runtime/faust_app.py"},
    "apprise": {"notify/apprise.py"},
    "fastapi": {"board/", "ingest/http.py"},
    "faust": {"runtime/faust_app.py"},
    "httpx": {"notify/answer.py"},
    "kafka": {
        "ingest/brokers.py",
        "ingest/group.py",
        "ingest/kafka.py",
        "runtime/kafka_intake.py",
        "runtime/notifying.py",
        "runtime/topics.py",
        "runtime/rereading.py",
        "runtime/table.py",
    },
    "prometheus_client": {"metrics.py"},
    "rich": {"commands/streams.py", "commands/report.py", "runtime/output.py"},
    "rocksdict": {"runtime/rocks.py"},
    "sqlite3": {"runtime/database.py"},
    "starlette": {"board/", "ingest/http.py"},
    "structlog": {"log.py"},
    "uvicorn": {"board/server.py", "commands/run.py"},
    "watchfiles": {"ingest/moments.py"},
    "yaml": {"rulefile/document.py", "rulefile/scenario.py", "settings.py"},
}
EVERYWHERE = {"msgspec", "pydantic", "pydantic_core"}
# What pure packages may have of the standard library: nothing that reads a clock, a file or the world.
PURE = ("core", "formats", "rulefile", "report", "simulation")
PURE_STANDARD = {
    *(
        "__future__",
        "bisect",
        "collections",
        "csv",
        "dataclasses",
        "datetime",
        "difflib",
        "enum",
        "functools",
    ),
    *(
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
        "textwrap",
        "types",
        "typing",
    ),
    *("unicodedata", "uuid", "xml", "zlib", "zoneinfo", "codecs", "statistics", "graphlib", "binascii"),
}
PURE_NAMES = {("sys", "intern"), ("random", "Random")}
"""Pure parts of modules that are not: a method of texts, and chance by a seed (which import-linter keeps out of the core)."""


def modules():
    return sorted(PRODUCT.rglob("*.py"))


def imported(path):
    """The outermost names of all that a file imports, wherever in it, but for names that are pure."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            if {(node.module, alias.name) for alias in node.names} <= PURE_NAMES:
                continue
            yield node.module.partition(".")[0]


def test_a_package_from_outside_is_imported_only_where_it_belongs():
    strays = [
        f"{place} imports {name}"
        for path in modules()
        for place in [path.relative_to(PRODUCT).as_posix()]
        for name in set(imported(path))
        - (set(sys.stdlib_module_names) - set(RESERVED))
        - {"monitor"}
        - EVERYWHERE
        if not place.startswith(tuple(RESERVED.get(name, ())))
    ]
    assert strays == []


def test_pure_packages_have_only_the_pure_part_of_the_standard_library():
    strays = [
        f"{path.relative_to(PRODUCT)} imports {name}"
        for package in PURE
        for path in sorted((PRODUCT / package).rglob("*.py"))
        for name in set(imported(path)) & set(sys.stdlib_module_names) - PURE_STANDARD
    ]
    assert strays == []


@pytest.mark.parametrize("package", PURE)
def test_pure_packages_open_no_files(package):
    for path in sorted((PRODUCT / package).rglob("*.py")):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        named = {call.id for call in calls if isinstance(call, ast.Name)}
        assert not named & {"open", "print", "input", "eval", "exec", "__import__"}, path


def test_what_is_imported_is_declared():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    declared = {line.partition(">")[0].partition("[")[0].strip() for line in project["dependencies"]}
    packages = {
        "yaml": "pyyaml",
        "faust": "faust-streaming",
        "kafka": "kafka-python",
        "starlette": "fastapi",
    }
    outside = set(RESERVED) - set(sys.stdlib_module_names) | {"msgspec", "pydantic"}
    used = {name for path in modules() for name in imported(path)} & outside
    assert {packages.get(name, name.replace("_", "-")) for name in used} <= declared
