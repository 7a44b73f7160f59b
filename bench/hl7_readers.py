r"""Compare ways to read HL7 v2: python-hl7, hl7apy and our own reader, on a folder of real messages.

    uv run --group bench python bench/hl7_readers.py FOLDER

Every file of the folder is cut into messages (by our own `mllp.messages`, for neither library does that for all
habits). Each reader then has to find the same six fields of each ADT message, as it came and with its line ends
made `\r` first. What it raises on, and where it finds something else, is counted. Speed is measured on the
messages that all of them read, in processor time, and is told as a ratio to python-hl7; events a second are
told for our decoder.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hl7
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from monitor.core.place import Registry
from monitor.formats.hl7 import decode
from monitor.formats.hl7_message import read, to_text
from monitor.formats.mllp import messages
from monitor.formats.reject import Reject

WANTED = (("MSH", 9), ("MSH", 10), ("EVN", 2), ("PID", 3), ("PV1", 3), ("PV1", 19))
Found = tuple[str, ...]
Reader = Callable[[str], Found]


def with_python_hl7(text: str) -> Found:
    message = hl7.parse(text)
    return tuple(_python_hl7_field(message, name, number) for name, number in WANTED)


def _python_hl7_field(message: hl7.Message, name: str, number: int) -> str:
    try:
        return str(message.segment(name)[number])
    except (KeyError, IndexError):
        return ""


def with_hl7apy(text: str) -> Found:
    message = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=False)
    return tuple(_hl7apy_field(message, name, number) for name, number in WANTED)


def _hl7apy_field(message, name: str, number: int) -> str:
    segment = getattr(message, name.lower())
    if not segment:
        return ""
    field = getattr(segment[0], f"{name.lower()}_{number}")
    return "~".join(each.to_er7() for each in field)


def with_ours(text: str) -> Found:
    message = read(text.encode())
    if isinstance(message, Reject):
        raise ValueError(message.reason)  # noqa: TRY004  # bad input, not a bad type
    return tuple(_our_field(message.first(name), number) for name, number in WANTED)


def _our_field(fields: list[str], number: int) -> str:
    return fields[number] if number < len(fields) else ""


READERS: dict[str, Reader] = {"python-hl7": with_python_hl7, "hl7apy": with_hl7apy, "ours": with_ours}


def adt_messages(folder: Path) -> list[bytes]:
    files = sorted(each for each in folder.rglob("*") if each.is_file() and each.name != "SOURCE.txt")
    return [each for file in files for each in messages(file.read_bytes()) if b"ADT" in each[:300]]


def tried(reader: Reader, text: str) -> Found | str:
    """What the reader finds, without empty components at the end, or the name of what it raises."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return tuple(each.rstrip("^~&") for each in reader(text))
    except Exception as error:  # noqa: BLE001  # which errors a library raises on bad input is the question
        return type(error).__name__


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: hl7_readers.py FOLDER", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    raw = adt_messages(Path(arguments[0]))
    plain = [to_text(each).replace("\r\n", "\r").replace("\n", "\r") for each in raw]
    print(f"{len(raw)} ADT messages, {sum(map(len, raw)) / len(raw):.0f} bytes on average\n")

    answers = {name: [tried(reader, text) for text in plain] for name, reader in READERS.items()}
    print("messages refused / read with other values than ours")
    print(f"{'reader':12} {'as they came':>20} {'line ends made CR':>20}")
    for name, reader in READERS.items():
        as_came = [tried(reader, each.decode("utf-8", "replace")) for each in raw]
        print(
            f"{name:12} {judged(as_came, answers['ours']):>20} {judged(answers[name], answers['ours']):>20}"
        )
        for error, count in Counter(each for each in as_came if isinstance(each, str)).most_common():
            print(f"{'':14}{count} x {error}")

    common = [
        text
        for position, text in enumerate(plain)
        if not any(isinstance(answers[name][position], str) for name in READERS)
    ]
    sample = common[:: max(1, len(common) // 200)]
    print(f"\nspeed on {len(sample)} messages that all read, times as fast as python-hl7")
    taken = {
        name: seconds(lambda read_one=reader: [read_one(text) for text in sample])
        for name, reader in READERS.items()
    }
    registry = Registry()
    encoded = [text.encode() for text in sample]
    taken["ours, events"] = seconds(lambda: [decode(each, registry) for each in encoded])
    for name, needed in taken.items():
        print(f"{name:14} {taken['python-hl7'] / needed:8.2f}")

    needed = seconds(lambda: [decode(each, registry) for each in raw])
    print(f"\nour decoder, bytes to events: {len(raw) / needed:,.0f} ADT messages a second on one core")
    return 0


def judged(found: list[Found | str], ours: list[Found | str]) -> str:
    refused = sum(isinstance(each, str) for each in found)
    other = sum(
        not isinstance(one, str) and not isinstance(own, str) and one != own
        for one, own in zip(found, ours, strict=True)
    )
    return f"{refused} / {other}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
