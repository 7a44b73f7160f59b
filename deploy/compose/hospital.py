"""A hospital that does not exist, told as if it were happening now: what lies behind at once, then all else in its time.

`handoff simulate` makes its feeds, from yesterday on; `handoff send` sends the messages over MLLP, and milestones go by HTTP.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

DAYS = 4
"""The log of a simulation ends at a midnight; this one at the third that comes."""
AT_ONCE = 500
RETRY_SECONDS = 2
SENT_AT = re.compile(rb"MSH\|(?:[^|]*\|){5}(\d{14}\+0000)\|")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mllp", required=True, metavar="HOST:PORT")
    parser.add_argument("--http", required=True, metavar="HOST:PORT")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the feeds are written")
    args = parser.parse_args()
    began = datetime.now(UTC)
    yesterday = (began - timedelta(days=1)).date()
    what = ["--start", f"{yesterday}", "--days", f"{DAYS}", "--format", "hl7", "--no-truth"]
    subprocess.run(["handoff", "simulate", *what, "--out", args.out], check=True)
    milestones = threading.Thread(
        target=tell, args=(args.out / "milestones.jsonl", f"http://{args.http}/events", began), daemon=True
    )
    milestones.start()
    behind, ahead = split((args.out / "adt.hl7").read_bytes(), began)
    for name, messages, pace in (("behind", behind, ()), ("ahead", ahead, ("--speed", "1"))):
        file = args.out / f"{name}.hl7"
        file.write_bytes(b"\r\r".join(messages))
        send = ["handoff", "send", file, "--to", f"mllp://{args.mllp}", "--give-up", "3600", *pace]
        if subprocess.run(send, check=False).returncode == 3:
            return 3
    milestones.join()
    return 0


def split(feed: bytes, now: datetime) -> tuple[list[bytes], list[bytes]]:
    """The messages that were sent before now, and the others."""
    messages = re.split(rb"[\r\n]+(?=MSH\|)", feed.strip())
    later = next((number for number, each in enumerate(messages) if sent_at(each) > now), len(messages))
    return messages[:later], messages[later:]


def sent_at(message: bytes) -> datetime:
    """MSH-7."""
    found = SENT_AT.match(message)
    assert found is not None, "a message without MSH-7"
    return datetime.strptime(found[1].decode(), "%Y%m%d%H%M%S%z")


def tell(file: Path, address: str, began: datetime) -> None:
    """Post the milestones, each when it has been written down; those that lie behind in large bodies."""
    lines = file.read_text().splitlines()
    times = [datetime.fromisoformat(json.loads(line)["arrived_at"]) for line in lines]
    behind = sum(1 for at in times if at <= began)
    for first in range(0, behind, AT_ONCE):
        post(lines[first : min(first + AT_ONCE, behind)], address)
    for line, at in zip(lines[behind:], times[behind:], strict=True):
        time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))
        post([line], address)


def post(lines: Sequence[str], address: str) -> None:
    """Until they are taken, or refused: repeats count once."""
    request = Request(address, "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
    while True:
        try:
            urlopen(request, timeout=30).close()
        except (OSError, HTTPException) as error:
            again = not isinstance(error, HTTPError) or error.code >= 500
            print(f"{address}: {error}{'; trying again' if again else ''}", file=sys.stderr, flush=True)
            if not again:
                return
            time.sleep(RETRY_SECONDS)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
