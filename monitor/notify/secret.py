"""Secrets, read from their files each time they are used, so that they may be changed while the service runs."""

from __future__ import annotations

from pathlib import Path

from monitor.notify.notice import NotDelivered


def secret(path: str) -> str:
    """The text of a file, without line ends and spaces at its end. Raises `NotDelivered`: the file may be mended, so it is tried again."""
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip()
    except OSError as error:
        raise NotDelivered(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotDelivered(f"{path} is not UTF-8 text") from None
    if not text:
        raise NotDelivered(f"{path} is empty")
    return text
