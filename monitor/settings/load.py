"""A file, the environment and options to settings, or to all that is wrong with them.

The later wins: defaults, the file, `HANDOFF_...` variables, options. All of them are judged together, as if the file said
it all; what is wrong with a variable or an option is told under its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin

import msgspec

from monitor.core.text import Model, Plain, found
from monitor.rulefile.document import Entry, Node, read
from monitor.rulefile.judge import closest, did_you_mean, judge
from monitor.rulefile.problem import Problem, SourceText, in_order
from monitor.settings.check import check
from monitor.settings.model import Settings

PREFIX: Final = "HANDOFF_"
_FROM_KUBERNETES: Final = re.compile(
    r"HANDOFF_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)|HANDOFF_PORT"
)
KeyPath = tuple[str, ...]


class Key(NamedTuple):
    """A key that the environment and options can set."""

    path: KeyPath
    is_list: bool = False
    """Several texts, apart by commas."""
    of: str | None = None
    """The only key of each mapping in the list; None where it holds texts."""

    @property
    def variable(self) -> str:
        return PREFIX + "_".join(self.path).upper()

    @property
    def option(self) -> str:
        """As argparse stores it: `http_port` of `--http-port`."""
        return "_".join(self.path)


def load_settings(
    name: str,
    content: bytes | None,
    environment: Mapping[str, str],
    options: Mapping[str, str | Sequence[str] | None],
) -> tuple[Settings | None, list[Problem]]:
    """The settings, and what is wrong with them, sorted; None with an error. Never raises.

    `content` is that of the file `name`, None where there is none. `environment` may be all of the process's; a variable
    that is empty counts as not set. `options` are by name (`http_port` for `--http-port`), None where not given; those that
    name no key are none of ours.
    """
    source, root, problems = _file(name, content)
    if root is None:
        return None, in_order(problems)
    environment = {name: text for name, text in environment.items() if _is_ours(name, text)}
    problems += _unknown_variables(environment)
    layers = _Layers(source)
    for key in keys():
        text = environment.get(key.variable)
        if text:
            root = layers.put(root, key, key.variable, text.split(",") if key.is_list else text)
        value = options.get(key.option)
        if value is not None:
            root = layers.put(root, key, "--" + key.option.replace("_", "-"), value)
    settings, wrong = judge(Settings, root, layers)
    problems += wrong
    if settings is not None:
        problems += check(settings, root, layers)
    failed = any(each.severity == "error" for each in problems)
    return (None if failed else settings), in_order(problems)


def unreadable_files(settings: Settings) -> list[str]:
    """A line for each file that the settings name (certificates, tokens, secrets) and that cannot be read, with its key."""
    lines = []
    for path, file in _files(settings, ""):
        try:
            with Path(file).open("rb"):
                pass
        except OSError as error:
            lines.append(f"{path}: cannot read {file}: {error.strerror or error}")
    return lines


_FILES: Final = frozenset(
    {
        "certificate",
        "key",
        "client_ca",
        "ca",
        "tokens",
        "secret_file",
        "token_file",
        "password_file",
        "apprise_file",
    }
)
"""Keys whose values are files that are read once, at the start."""


def _files(value: Any, path: str) -> Iterable[tuple[str, str]]:
    """Path of the key, and the file, of each that is named anywhere below a value."""
    if isinstance(value, Model):
        below: Iterable[tuple[str, Any]] = ((name, getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, dict):
        below = value.items()
    elif isinstance(value, list):
        below = ((str(number), each) for number, each in enumerate(value, start=1))
    else:
        return
    for key, each in below:
        here = f"{path}.{key}" if path else key
        if isinstance(each, str) and key in _FILES and isinstance(value, Model):
            yield here, each
        else:
            yield from _files(each, here)


def keys() -> list[Key]:
    """The keys that the environment and options can set: single values and simple lists; sinks and receivers are for the file."""
    return list(_keys(Settings, ()))


def _keys(model: type[Model], above: KeyPath) -> Iterable[Key]:
    for name, field in model.model_fields.items():
        inner = _without_none(field.annotation)
        if isinstance(inner, type) and issubclass(inner, Model):
            yield from _keys(inner, (*above, name))
        elif get_origin(inner) is list:
            (item,) = get_args(inner)
            fields = [] if item is str else [*item.model_fields]
            if len(fields) <= 1:
                yield Key((*above, name), is_list=True, of=fields[0] if fields else None)
        elif get_origin(inner) is not dict:
            yield Key((*above, name))


def _without_none(annotation: Any) -> Any:
    """The type of a field beneath `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        others = [each for each in get_args(annotation) if each is not type(None)]
        return _without_none(others[0]) if len(others) == 1 else annotation
    return annotation


def _file(name: str, content: bytes | None) -> tuple[SourceText, Node | None, list[Problem]]:
    """The file as nodes; one that is empty, or only comments, says nothing."""
    nothing = Node(0, 0, {})
    if content is None or not content.strip():
        return SourceText(name, ""), nothing, []
    source, root, problems = read(name, content)
    if problems and root is None:
        return source, None, problems
    if root is None or root.value is None:
        return source, nothing, problems
    if isinstance(root.value, dict):
        return source, root, problems
    message = f"the file must be a mapping of settings; found {found(root.text) if root.text else 'a list'}"
    return source, None, [*problems, source.problem(root.start, root.end, "not-a-mapping", message)]


def _is_ours(variable: str, text: str) -> bool:
    """Whether a variable is meant for us; Kubernetes makes others, for a service named `handoff` or `handoff-http`."""
    if not variable.startswith(PREFIX) or _FROM_KUBERNETES.fullmatch(variable):
        return False
    return not (variable.endswith("_PORT") and text.startswith(("tcp://", "udp://")))


def _unknown_variables(environment: Mapping[str, str]) -> list[Problem]:
    """Variables that set nothing."""
    known = {key.variable for key in keys()}
    return [
        msgspec.structs.replace(
            SourceText(name, "").problem(
                0,
                1,
                "unknown-variable",
                f"no setting has the variable `{name}`",
                did_you_mean(closest(name, known)),
                severity="warning",
            ),
            excerpt=None,
        )
        for name in sorted(environment)
        if name not in known
    ]


class _Layers(SourceText):
    """The file's text and behind it a line for each variable and option, so that each value has a place of its own."""

    def __init__(self, file: SourceText) -> None:
        super().__init__(file.name, file.text)
        self._added: list[tuple[int, SourceText]] = []
        """Where each added value begins, and the value under the name of its variable or option."""
        self._end = len(file.text) + 1

    def put(self, root: Node, key: Key, name: str, value: str | Sequence[str]) -> Node:
        """The root with a value of a variable or option under its key, in place of what stands there."""
        texts = [value] if isinstance(value, str) else [text.strip() for text in value]
        start = self._end
        self._added.append((start, SourceText(name, ",".join(texts))))
        nodes: list[Node] = []
        for text in texts:
            node = Node(self._end, self._end + len(text), Plain(text))
            if key.of is not None:
                node = msgspec.structs.replace(node, value={key.of: Entry(node, node)})
            nodes.append(node)
            self._end += len(text) + 1
        node = Node(start, self._end - 1, nodes) if key.is_list else nodes[0]
        return _with(root, key.path, node)

    def problem(self, start: int, end: int, *rest: Any, **more: Any) -> Problem:
        """A problem where it belongs: in the file, or in a variable or option."""
        for begin, added in reversed(self._added):
            if start >= begin:
                return added.problem(start - begin, end - begin, *rest, **more)
        return super().problem(start, end, *rest, **more)


def _with(node: Node, path: KeyPath, value: Node) -> Node:
    """A mapping with a value at a path below it; mappings on the way are made where there are none."""
    if not path:
        return value
    if node.value is not None and not isinstance(node.value, dict):
        return node  # it is wrong by itself, and will be told
    name = path[0]
    below = node.entries[name].value if name in node.entries else Node(value.start, value.end, None)
    entry = Entry(value, _with(below, path[1:], value))
    return msgspec.structs.replace(node, value={**node.entries, name: entry})
