"""Text files that a scenario names: found, read within bounds, parsed, and known again by their hash."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

MAX_FILE_BYTES = 16 << 20
T = TypeVar("T")


def read_named(written: str, folder: Path, parse: Callable[[str], T]) -> tuple[str, str, T]:
    """(path, SHA-256, what `parse` made of the text); a relative path starts at `folder`.

    ValueError says what is wrong, with the name as it is written; that of `parse` should say where.
    """
    path = (folder / written).resolve()
    text = read_text(written, path)
    try:
        parsed = parse(text)
    except ValueError as error:
        raise ValueError(f"{written}: {error}") from error
    return str(path), sha256_of(text), parsed


def read_text(written: str, path: Path) -> str:
    """The text of a file that a scenario names; ValueError where it cannot be had."""
    try:
        if not path.is_file():
            raise ValueError(f"{written}: there is no such file (looked for {path})")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"{written}: larger than {MAX_FILE_BYTES >> 20} MiB")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{written}: cannot read it: {error}") from error


def sha256_of(text: str) -> str:
    """By which a file is known again."""
    return hashlib.sha256(text.encode()).hexdigest()
