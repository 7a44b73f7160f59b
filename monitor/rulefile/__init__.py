"""Rule files: text to rules, or to all that is wrong with it."""

from monitor.rulefile.load import load_registry, load_rules
from monitor.rulefile.problem import Problem, as_github, as_json, as_text
from monitor.rulefile.schema import registry_schema, schema

__all__ = [
    "Problem",
    "as_github",
    "as_json",
    "as_text",
    "load_registry",
    "load_rules",
    "registry_schema",
    "schema",
]
