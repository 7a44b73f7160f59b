"""What a compose file says of its services, read as compose reads it: variables put in, `extends` followed, paths made whole."""

import json
import re
from importlib.metadata import distribution
from pathlib import Path

import jsonschema
import yaml

PROJECT = Path(__file__).parents[2]
WHOLE = PROJECT / "docker-compose.yml"
SINGLE = PROJECT / "deploy/single/docker-compose.yml"
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def plain(path):
    """The document, variables and all."""
    return yaml.safe_load(path.read_text())


def document(path, environment=None):
    """The document, with variables from `environment` or their defaults."""
    given = environment or {}

    def put_in(value):
        if isinstance(value, dict):
            return {name: put_in(each) for name, each in value.items()}
        if isinstance(value, list):
            return [put_in(each) for each in value]
        if not isinstance(value, str):
            return value
        text = VARIABLE.sub(lambda found: given.get(found[1]) or found[2] or "", value)
        assert "$" not in text, "a variable in a form that these tests do not read"
        return text

    return put_in(plain(path))


def services(path, environment=None):
    """By name; what a service extends is in it, and files are named by their whole paths."""
    found = {}
    for name, written in document(path, environment)["services"].items():
        own = _located(written, path.parent)
        other = own.pop("extends", None)
        found[name] = own
        if other is not None:
            above = services((path.parent / other["file"]).resolve(), environment)[other["service"]]
            volumes = {target(each): each for each in [*above.get("volumes", []), *own.get("volumes", [])]}
            found[name] = above | own | {"volumes": list(volumes.values())}
    return found


def _located(service, folder):
    volumes = [
        str((folder / each).resolve()) if (each := volume).startswith(".") else each
        for volume in service.get("volumes", [])
    ]
    return service | ({"volumes": volumes} if volumes else {})


def target(volume):
    """Where in the container a volume is to be seen."""
    return volume.removesuffix(":ro").rpartition(":")[2]


def files(service):
    """What is mounted from the checkout: the path in the container, and the file or directory."""
    mounted = [each.removesuffix(":ro").rpartition(":") for each in service.get("volumes", [])]
    return {inside: Path(outside) for outside, _, inside in mounted if outside.startswith("/")}


def named_volumes(service):
    """The volumes that keep something, by name, and where in the container they are to be seen."""
    mounted = [each.removesuffix(":ro").partition(":") for each in service.get("volumes", [])]
    return {outside: inside for outside, _, inside in mounted if not outside.startswith("/")}


def wrong(path):
    """What the schema of the compose specification finds wrong, with where."""
    # The package is only needed for this file: its own code is not imported.
    brought = distribution("check-jsonschema").locate_file(
        "check_jsonschema/builtin_schemas/vendor/compose-spec.json"
    )
    schema = json.loads(Path(brought).read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [f"{'.'.join(map(str, each.path))}: {each.message}" for each in validator.iter_errors(plain(path))]
