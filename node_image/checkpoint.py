"""Checkpoints: what a node knew before it crashed.

One safetensors file a generation, scalars as JSON in its metadata. The name carries the generation and the SHA-256 of
the content, so that one rename makes a checkpoint valid and a torn or altered file is recognised. Two generations are
kept: a broken newest one falls back to the one before.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from node_image.runtime import Array, Body

KEPT_GENERATIONS = 2
NAME = re.compile(r"(?P<generation>\d{8})-(?P<sha256>[0-9a-f]{64})\.safetensors")


@dataclass(frozen=True)
class Restored:
    """The newest good checkpoint (None: there is none), and the names of newer ones that turned out broken."""

    state: Body | None
    broken: tuple[str, ...]


def save(directory: Path, state: Body) -> None:
    """Write a new generation: when this returns it survives a crash of the process and of the machine.

    Scalars must be finite. An OSError leaves the generations before it as they were.
    """
    write(directory, encode(state))


def encode(state: Body) -> bytes:
    """Content of a checkpoint file: from here on the caller's arrays may change."""
    tensors = {name: np.array(value, order="C") for name, value in state.items() if isinstance(value, np.ndarray)}
    scalars = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
    content: bytes = to_safetensors(tensors, {"scalars": json.dumps(scalars, allow_nan=False, sort_keys=True)})
    return content


def _put(file: IO[bytes], content: bytes) -> None:
    file.write(content)


def write(directory: Path, content: bytes, put: Callable[[IO[bytes], bytes], None] = _put) -> None:
    """Make encoded content the newest generation, and let go of what is older than the one before it.

    `put` writes it into the file: a slow disk takes its time there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    generation = max((number for number, _, _ in _generations(directory)), default=0) + 1
    sha256 = hashlib.sha256(content).hexdigest()
    unfinished = directory / "unfinished"
    with unfinished.open("wb") as file:
        put(file, content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(directory / f"{generation:08d}-{sha256}.safetensors")
    _sync_directory(directory)
    for _, _, path in list(_generations(directory))[KEPT_GENERATIONS:]:
        path.unlink()


def tear(directory: Path) -> str:
    """Leave half of the newest checkpoint, as a machine does that dies while it writes; says what was done."""
    generations = [path for _, _, path in _generations(directory)]
    if not generations:
        return "it had no checkpoint to tear"
    newest, size_bytes = generations[0], generations[0].stat().st_size
    os.truncate(newest, size_bytes // 2)
    return (
        f"checkpoint {newest.name[:8]} torn: {newest.stat().st_size} of its {size_bytes} bytes are left; "
        f"{len(generations) - 1} before it"
    )


def restored(directory: Path) -> Restored:
    """The newest checkpoint whose content is what was written."""
    broken: list[str] = []
    for _, sha256, path in _generations(directory):
        try:
            if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                return Restored(_read(path), tuple(broken))
        except (OSError, SafetensorError, ValueError, KeyError):
            pass  # as good as altered: named below, and the generation before it is tried
        broken.append(path.name)
    return Restored(None, tuple(broken))


def _generations(directory: Path) -> Iterator[tuple[int, str, Path]]:
    """(generation, SHA-256, path), newest first."""
    for path in sorted(directory.glob("*.safetensors"), reverse=True):
        if (match := NAME.fullmatch(path.name)) is not None:
            yield int(match["generation"]), match["sha256"], path


def _read(path: Path) -> Body:
    with safe_open(path, framework="numpy") as file:
        tensors: dict[str, Array] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        scalars: dict[str, int | float | str | bool] = json.loads(file.metadata()["scalars"])
    return {**scalars, **tensors}


def _sync_directory(directory: Path) -> None:
    """Make a rename last: until its directory is synced it may be lost with the power."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
