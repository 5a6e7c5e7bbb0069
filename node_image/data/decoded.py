"""Decoding many files once: what came out is kept, as arrays, beside the folder they lie in, and read from there."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node_image.data.folder import DataUnreadableError

Decode = Callable[[Path], NDArray[np.uint8]]  # raises ValueError or OSError for what cannot be decoded
NAMED = 5  # unreadable files that a message names


def decode_all(files: Sequence[Path], root: Path, kind: str, decode: Decode) -> NDArray[np.uint8]:
    """The files' samples (n, ...), all of one shape, from the cache `<root>.decoded/<kind>` where they are there.

    A file that has changed is decoded anew; where the cache cannot be written, all are decoded each time. Every file
    is tried: DataUnreadableError names those that cannot be decoded.
    """
    cache = root.with_name(f"{root.name}.decoded") / kind
    samples: list[NDArray[np.uint8]] = []
    unreadable: list[str] = []
    for file in files:
        try:
            samples.append(_cached(file, cache / f"{_digest(file, root)}.npy", decode))
        except (OSError, ValueError) as error:
            unreadable.append(f"{file} ({error})")
    if unreadable:
        more = f" and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
        raise DataUnreadableError(
            f"{root}: {len(unreadable)} of {len(files)} files cannot be decoded; repair or remove them: "
            f"{'; '.join(sorted(unreadable)[:NAMED])}{more}"
        )
    return np.stack(samples)


def _cached(file: Path, kept: Path, decode: Decode) -> NDArray[np.uint8]:
    if kept.is_file():
        with contextlib.suppress(OSError, ValueError, EOFError):  # damaged: decode again
            return np.asarray(np.load(kept, allow_pickle=False), np.uint8)
    sample = decode(file)
    with contextlib.suppress(OSError):  # a folder that may only be read is no reason to fail
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Another process may do the same at the same time: each writes its own file, the last one stays.
        fresh = kept.with_suffix(f".{os.getpid()}.npy")
        np.save(fresh, sample)
        fresh.replace(kept)
    return sample


def _digest(file: Path, root: Path) -> str:
    state = file.stat()
    text = f"{file.relative_to(root)}\0{state.st_size}\0{state.st_mtime_ns}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
