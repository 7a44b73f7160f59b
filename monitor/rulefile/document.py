"""YAML text to nodes that remember where they stood.

Scalars stay text: YAML's own guesses (`010` is 8, `1:30` is 90, `NO` is false) never happen. One that stood without
quotes is `Plain`, so that the models may read `3` as a number; an unquoted `null`, `~` or nothing is None.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from monitor.core.text import Plain, found
from monitor.rulefile.problem import Problem, SourceText

DEEPEST: Final = 40
"""Levels of nesting that a file may have."""
MOST_ALIASED: Final = 100_000
"""Nodes that all aliases of a file together may stand for."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same events; C where libyaml was built in
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_LOOKED_AT: Final = 1 << 20
_HL7 = re.compile(rb"(?:\A|[\r\n\x0b])(?:MSH|FHS|BHS)[^\w\s:]")
_HL7_WIDE = re.compile(rb"M\0S\0H\0|\0M\0S\0H")
_TIME = re.compile(rb'"\d{4}-')
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML does not allow (YAML 1.1, section 5.1)."""


class Node(msgspec.Struct):
    """A value and the characters from `start` to `end` that stand for it: of a block the first entry."""

    start: int
    end: int
    value: str | list[Node] | dict[str, Entry] | None
    size: int = 1
    """Nodes in it, itself included and aliases counted in full."""
    height: int = 0
    """Levels below it."""

    @property
    def text(self) -> str | None:
        """The text of a scalar."""
        return str(self.value) if isinstance(self.value, str) else None

    @property
    def items(self) -> list[Node]:
        """What a list holds."""
        return self.value if isinstance(self.value, list) else []

    @property
    def entries(self) -> dict[str, Entry]:
        """What a mapping holds."""
        return self.value if isinstance(self.value, dict) else {}

    def under(self, key: str) -> Node:
        """What stands under a key of a mapping; an empty node where nothing does."""
        return self.entries[key].value if key in self.entries else Node(self.start, self.end, None)


class Entry(NamedTuple):
    """A key of a mapping and its value."""

    key: Node
    value: Node


class _Open(NamedTuple):
    """A list or mapping whose end has not been read."""

    event: Any
    children: list[Node]


class _Refused(Exception):  # noqa: N818 - it ends the reading of one file and never leaves this module
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read(name: str, content: bytes) -> tuple[SourceText, Node | None, list[Problem]]:
    """The file's text, its one document and what is wrong with it as YAML; None where there is no document.

    Of a file of messages, which stands where YAML was expected when paths are mixed up, nothing is shown.
    """
    if (messages := _messages(content)) is not None:
        source = SourceText(name, "")
        message = f"this looks like {messages}, not like YAML"
        problem = source.problem(0, 1, "not-yaml", message, "do the paths stand where they belong?")
        return source, None, [msgspec.structs.replace(problem, excerpt=None)]
    try:
        source = SourceText(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        source = SourceText(name, content.decode(errors="replace"))
        at = len(content[: error.start].decode())
        message = f"not UTF-8: byte 0x{content[error.start]:02x}"
        return source, None, [source.problem(at, at + 1, "bad-encoding", message, "save the file as UTF-8")]
    return source, *compose(source)


def _messages(content: bytes) -> str | None:
    """What sort of messages a file holds, if it is plain that it does."""
    head = content[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip()
    if _HL7.search(head) or _HL7_WIDE.search(head) or content.startswith(b"\x0b"):
        return "HL7 messages"
    lines = [line for line in head.splitlines() if line.strip()]
    if any(_is_event(line, alone=len(lines) == 1) for line in lines if line.startswith(b"{")):
        return "events"
    return None


def _is_event(line: bytes, *, alone: bool) -> bool:
    """A line that is `alone` may also be a mapping, whose times are names of columns."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    has_time = _TIME.match(bytes(fields.get("occurred_at", b""))) is not None
    return "patient" in fields and (has_time or not alone)


def read_mapping(name: str, content: bytes) -> tuple[SourceText, Node | None, list[Problem]]:
    """As `read`, where the document must be a mapping; None where it is not."""
    source, root, problems = read(name, content)
    if problems and (root is None or root.value is None):
        return source, None, problems
    if root is None or root.value is None:
        return source, None, [*problems, source.problem(0, 1, "empty-file", "the file is empty")]
    if isinstance(root.value, dict):
        return source, root, problems
    message = f"the file must be a mapping; found {found(plain(root))}"
    return source, None, [*problems, source.problem(root.start, root.end, "not-a-mapping", message)]


def compose(source: SourceText) -> tuple[Node | None, list[Problem]]:
    """The one document in a text, and what is wrong with it as YAML. Never raises."""
    forbidden = _FORBIDDEN.search(source.text)
    if forbidden:
        message = f"not valid YAML: control character U+{ord(forbidden[0]):04X}"
        return None, [source.problem(forbidden.start(), forbidden.end(), "yaml-syntax", message)]
    problems: list[Problem] = []
    try:
        return _Composer(source, problems).root(), problems
    except _Refused as refused:
        return None, [*problems, refused.problem]
    except yaml.MarkedYAMLError as error:
        return None, [*problems, _syntax(source, error)]
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        return None, [*problems, source.problem(0, 1, "yaml-syntax", f"not valid YAML: {error}")]


def plain(node: Node) -> Any:
    """The values alone: texts, None, lists and dicts."""
    if isinstance(node.value, list):
        return [plain(each) for each in node.value]
    if isinstance(node.value, dict):
        return {key: plain(entry.value) for key, entry in node.value.items()}
    return node.value


class _Composer:
    """Builds nodes from the parser's events with a stack of its own: no input makes it recurse."""

    def __init__(self, source: SourceText, problems: list[Problem]) -> None:
        self._source = source
        self._problems = problems
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def root(self) -> Node | None:
        """The document's node; None when there is no document. Raises `_Refused` and `yaml.YAMLError`."""
        root: Node | None = None
        for event in yaml.parse(self._source.text, Loader=_Loader):
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self._refused(event, "several-documents", "a second document: a file has one")
            node = self._node(event)
            if node is None:
                continue
            if self._open:
                self._open[-1].children.append(node)
            else:
                root = node
        return root

    def _node(self, event: Any) -> Node | None:
        """The node that this event completes, if it does."""
        match event:
            case yaml.ScalarEvent():
                self._check_tag(event)
                return self._anchored(event, self._scalar(event))
            case yaml.AliasEvent():
                return self._alias(event)
            case yaml.CollectionStartEvent():
                self._check_tag(event)
                if len(self._open) >= DEEPEST:
                    raise self._refused(event, "too-deep", f"nested more than {DEEPEST} levels deep")
                self._open.append(_Open(event, []))
            case yaml.CollectionEndEvent():
                return self._collection(event)
        return None

    def _scalar(self, event: Any) -> Node:
        value = event.value
        if event.style in {None, ""}:  # without quotes
            value = None if value in _NULL else Plain(value)
        return Node(event.start_mark.index, event.end_mark.index, value)

    def _collection(self, event: Any) -> Node:
        start, children = self._open.pop()
        is_list = isinstance(start, yaml.SequenceStartEvent)
        value = children if is_list else self._mapping(children)
        first = children[:1] if is_list else children[:2]
        end = event.end_mark.index if start.flow_style or not first else first[-1].end
        size = 1 + sum(each.size for each in children)
        height = 1 + max((each.height for each in children), default=0)
        return self._anchored(start, Node(start.start_mark.index, end, value, size, height))

    def _mapping(self, children: list[Node]) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for key, value in zip(children[::2], children[1::2], strict=True):
            text = key.value if key.value is not None else self._source.text[key.start : key.end]
            if not isinstance(text, str) or not text:
                self._problem(key, "bad-key", f"a key must be a text; found {found(plain(key))}")
            elif text == "<<" and isinstance(text, Plain):
                hint = "give single values an anchor and repeat the keys"
                self._problem(key, "merge-key", "merge keys (`<<`) are not supported", hint)
            elif text in entries:
                first = self._source.position(entries[text].key.start)[0]
                self._problem(
                    key, "duplicate-key", f"key {found(text)} stands twice", f"first on line {first}"
                )
            else:
                written = value.start < value.end
                entries[str(text)] = Entry(key, value if written else Node(key.start, key.end, value.value))
        return entries

    def _anchored(self, event: Any, node: Node) -> Node:
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        if any(start.anchor == event.anchor for start, _ in self._open):
            raise self._refused(
                event, "bad-alias", f"alias `{event.anchor}` stands inside what it stands for"
            )
        target = self._anchors.get(event.anchor)
        if target is None:
            raise self._refused(event, "bad-alias", f"no anchor `&{event.anchor}` before this alias")
        self._aliased += target.size
        if self._aliased > MOST_ALIASED:
            raise self._refused(
                event, "too-many-aliases", f"aliases stand for more than {MOST_ALIASED} values"
            )
        if len(self._open) + target.height > DEEPEST:
            raise self._refused(event, "too-deep", f"nested more than {DEEPEST} levels deep")
        return Node(event.start_mark.index, event.end_mark.index, target.value, target.size, target.height)

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None:
            node = Node(event.start_mark.index, event.end_mark.index, None)
            self._problem(
                node, "yaml-tag", "tags (`!`) have no meaning here", "quote a value to make it a text"
            )

    def _problem(self, node: Node, code: str, message: str, hint: str | None = None) -> None:
        self._problems.append(self._source.problem(node.start, node.end, code, message, hint))

    def _refused(self, event: Any, code: str, message: str) -> _Refused:
        return _Refused(self._source.problem(event.start_mark.index, event.end_mark.index, code, message))


_HINTS: Final = {
    "cannot start any token": "quote a text that begins with %, @ or a backtick",
    "mapping values are not allowed": "quote a text that holds `: `",
    "did not find expected key": "is every key of the mapping indented alike, and every quote closed?",
    "could not find expected ':'": "is there a `: ` after each key, with the space?",
}


def _syntax(source: SourceText, error: yaml.MarkedYAMLError) -> Problem:
    """The parser's complaint, in its own words, with the context's line."""
    mark = error.problem_mark or error.context_mark
    index = 0 if mark is None else min(mark.index, len(source.text))
    message = f"not valid YAML: {error.problem or error.context}"
    if error.context is not None and error.context_mark is not None:
        message += f" {error.context} from line {source.position(error.context_mark.index)[0]}"
    hint = next((hint for words, hint in _HINTS.items() if words in message), None)
    if source.text[index : index + 1] == "\t":
        hint = "indent with spaces, not with tabs"
    return source.problem(index, index + 1, "yaml-syntax", message, hint)
