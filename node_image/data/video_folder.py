"""Videos of the user's own, in the layout of UCF101 and HMDB51: `<folder>/<class>/<file>.avi` (or mp4, mkv, mov, webm).

Which are for training and which for testing is said by the lists that come with those sets (`trainlist01.txt` and
`testlist01.txt`, or `<class>_test_split1.txt`), in a folder of their own; without lists, the data seed decides.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node_image.data.class_folders import Labelled, find, held_out
from node_image.data.decoded import decode_all
from node_image.data.folder import DataNotFoundError, locate_folder
from node_image.data.task import Task, draw
from node_image.parameters import parameter

SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm")
TRAIN, TEST, NEITHER = 1, 2, 0  # as HMDB51's lists write it
GROUP = re.compile(r"_g(\d+)_c\d+$")  # UCF101: clips of one group are cut from one video


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    folder: str = parameter("videos", "folder of the class folders, below the data folder")
    lists: str = parameter("", "folder of the split lists, below the data folder; empty: the data seed splits")
    split: int = parameter(1, "which of the splits that the lists hold", minimum=1)
    test_share: float = parameter(
        0.3, "part held out for testing where there are no lists", unit="ratio", minimum=0.01, maximum=0.99
    )
    frames: int = parameter(8, "frames of a clip, from the middles of so many equal spans of the video", minimum=1)
    size: int = parameter(32, "rows and columns to which a frame is squeezed", unit="px", minimum=4)
    train_samples: int = parameter(0, "training videos drawn by the data seed; 0: all", minimum=0)
    test_samples: int = parameter(0, "test videos drawn by the data seed; 0: all", minimum=0)


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """Grey clips of shape (frames, size, size); ids are the groups of UCF101, where the files' names have them.

    Only the videos drawn are decoded. DataNotFoundError and DataUnreadableError say which folder or file is wrong.
    """
    root = locate_folder(data_dir, "video_folder", params.folder)
    videos = find(root, SUFFIXES)
    groups = groups_of(videos.files)
    if params.lists:
        use = listed(videos, root, locate_folder(data_dir, "video_folder", params.lists), params.split)
    else:
        alone = np.arange(len(videos.files)) if groups is None else groups
        use = np.where(held_out(videos.labels, alone, params.test_share, data_seed), TEST, TRAIN)
    rng = np.random.default_rng([data_seed, 1])
    train, test = (
        np.flatnonzero(use == part)[draw(rng, int((use == part).sum()), wanted)]
        for part, wanted in ((TRAIN, params.train_samples), (TEST, params.test_samples))
    )
    if not (len(train) and len(test)):
        raise DataNotFoundError(
            f"video_folder: of {len(videos.files)} videos below {root}, {len(train)} are for training and {len(test)} "
            "for testing; do the lists name these files?"
        )
    decode = partial(decode_clip, frames=params.frames, size=params.size)
    chosen = np.concatenate([train, test])
    kind = f"clips_{params.frames}x{params.size}"
    clips = decode_all([videos.files[each] for each in chosen], root, kind, decode)
    train_x, test_x = clips[: len(train)], clips[len(train) :]
    ids = None if groups is None else groups[train]
    y = videos.labels
    return Task(train_x, y[train], test_x, y[test], len(videos.classes), scale=1 / 255, ids=ids)


def decode_clip(file: Path, frames: int, size: int) -> NDArray[np.uint8]:
    """A video as grey frames (frames, size, size); ValueError where nothing can be decoded."""
    import av

    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise ValueError("it has no video stream")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # a node computes on one thread
            seen = [
                each.reformat(width=size, height=size, format="gray", interpolation="AREA").to_ndarray()
                for each in container.decode(stream)
            ]
    except av.FFmpegError as error:
        raise ValueError(str(error)) from error
    if not seen:
        raise ValueError("it has no frames")
    # What a file says of its length is not always so: all frames are decoded, then chosen.
    middles = ((np.arange(frames) + 0.5) / frames * len(seen)).astype(np.int64)
    return np.stack([seen[each] for each in middles]).astype(np.uint8)


def groups_of(files: tuple[Path, ...]) -> NDArray[np.int64] | None:
    """Group of each file by its name; None where any name has none."""
    found = [GROUP.search(file.stem) for file in files]
    numbers = [int(each[1]) for each in found if each]
    return np.array(numbers, np.int64) if len(numbers) == len(files) else None


def listed(videos: Labelled, root: Path, lists: Path, split: int) -> NDArray[np.int64]:
    """TRAIN, TEST or NEITHER for every video, as the lists say; files that are listed and not there are passed over."""
    ucf = {TRAIN: lists / f"trainlist{split:02}.txt", TEST: lists / f"testlist{split:02}.txt"}
    said: dict[str, int] = {}
    if all(each.is_file() for each in ucf.values()):
        for use, file in ucf.items():
            said |= {words[0]: use for words in _rows(file)}
    elif hmdb := sorted(lists.glob(f"*_test_split{split}.txt")):
        for file in hmdb:
            label = file.name.removesuffix(f"_test_split{split}.txt")
            said |= {f"{label}/{words[0]}": _use(words, file) for words in _rows(file)}
    else:
        raise DataNotFoundError(
            f"video_folder: {lists} has no lists of split {split}: neither {ucf[TRAIN].name} and {ucf[TEST].name} "
            f"nor <class>_test_split{split}.txt"
        )
    return np.array([said.get(each.relative_to(root).as_posix(), NEITHER) for each in videos.files], np.int64)


def _rows(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _use(words: list[str], file: Path) -> int:
    if len(words) != 2 or words[1] not in ("0", "1", "2"):
        raise ValueError(f"{file}: a line is a file's name and 0, 1 or 2 (found {' '.join(words)!r})")
    return int(words[1])
