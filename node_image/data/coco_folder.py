"""Pictures with boxes of the user's own, in COCO's layout, to detect things in them.

`<folder>/annotations/instances_<part>.json`, with the parts `train2017` and `val2017` unless others are named, and the
pictures in `<folder>/<part>/` or `<folder>/images/<part>/`. Pictures without a single thing (nothing, or crowds alone)
are left out.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node_image.data.boxes import Boxes, main_classes, padded
from node_image.data.decoded import decode_all
from node_image.data.folder import DataNotFoundError, DataUnreadableError, locate_folder
from node_image.data.image_folder import decode_image
from node_image.data.task import Labels, Task, draw
from node_image.parameters import parameter


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    folder: str = parameter("coco", "folder of the annotations and the pictures, below the data folder")
    train: str = parameter("train2017", "name of the part to learn from")
    test: str = parameter("val2017", "name of the part to be tested on")
    size: int = parameter(64, "rows and columns to which a picture is squeezed", unit="px", minimum=4)
    colour: bool = parameter(True, "whether colours are kept: shape (3, size, size) instead of (size, size)")
    train_samples: int = parameter(0, "training pictures drawn by the data seed; 0: all", minimum=0)
    test_samples: int = parameter(0, "test pictures drawn by the data seed; 0: all", minimum=0)


@dataclass(frozen=True)
class Part:
    """Pictures that hold things, with their boxes; categories by their numbers in the file, in ascending order."""

    files: tuple[Path, ...]
    boxes: Boxes
    categories: tuple[int, ...]


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """Pictures of shape (3, size, size) or (size, size) with boxes; only those drawn are decoded.

    A picture's label, by which partitions share out, is the class of its largest thing. DataNotFoundError and
    DataUnreadableError say which file is wrong.
    """
    root = locate_folder(data_dir, "coco_folder", params.folder)
    train = read_part(root, params.train)
    test = read_part(root, params.test)
    if train.categories != test.categories:
        raise DataUnreadableError(f"{root}: the parts {params.train} and {params.test} have different categories")
    rng = np.random.default_rng([data_seed, 1])
    use = draw(rng, len(train.files), params.train_samples)
    use_test = draw(rng, len(test.files), params.test_samples)
    decode = partial(decode_image, size=params.size, colour=params.colour)
    files = [train.files[each] for each in use] + [test.files[each] for each in use_test]
    x = decode_all(files, root, f"images_{'colour' if params.colour else 'grey'}_{params.size}", decode)
    boxes, test_boxes = train.boxes[use], test.boxes[use_test]
    return Task(
        x[: len(use)],
        main_classes(boxes),
        x[len(use) :],
        main_classes(test_boxes),
        classes=len(train.categories),
        scale=1 / 255,
        train_boxes=boxes,
        test_boxes=test_boxes,
    )


def read_part(root: Path, part: str) -> Part:
    """The pictures of a part that hold single things, by their numbers."""
    file = root / "annotations" / f"instances_{part}.json"
    if not file.is_file():
        raise DataNotFoundError(f"coco_folder: there is no file {file}; name the parts with train and test")
    try:
        raw = json.loads(file.read_bytes())
        categories = tuple(sorted(int(each["id"]) for each in raw["categories"]))
        pictures = {int(each["id"]): each for each in sorted(raw["images"], key=lambda each: int(each["id"]))}
        rows: dict[int, list[list[float]]] = {number: [] for number in pictures}
        for each in raw["annotations"]:
            number = int(each["image_id"])
            rows[number] += _box(each, pictures[number], categories)
        boxes = padded([np.array(those, np.float32).reshape(-1, 6) for those in rows.values()])
        kept: Labels = np.flatnonzero(main_classes(boxes) >= 0)
        names = [str(each["file_name"]) for each in pictures.values()]
    except (KeyError, TypeError, ValueError) as error:
        raise DataUnreadableError(f"{file}: not COCO's format: {type(error).__name__}: {error}") from error
    if not len(kept):
        raise DataUnreadableError(f"{file}: no picture has a box")
    files = tuple(_picture(root, part, names[each]) for each in kept)
    return Part(files, boxes[kept], categories)


def _box(annotation: dict[str, Any], picture: dict[str, Any], categories: tuple[int, ...]) -> list[list[float]]:
    """The row of a box, as parts of the picture and cut at its edges; none where nothing of it is inside."""
    sides = np.array([picture["width"], picture["height"]], np.float64)
    left, top, width, height = (float(each) for each in annotation["bbox"])
    first: NDArray[np.float64] = np.clip(np.array([left, top]) / sides, 0, 1)
    last: NDArray[np.float64] = np.clip(np.array([left + width, top + height]) / sides, 0, 1)
    if not (last > first).all():
        return []
    kind = categories.index(int(annotation["category_id"]))
    return [[kind, *(first + last) / 2, *(last - first), float(annotation.get("iscrowd", 0))]]


def _picture(root: Path, part: str, name: str) -> Path:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataUnreadableError(f"coco_folder: a picture's name must lead to below {root} (found {name!r})")
    places = (root / part / name, root / "images" / part / name, root / "images" / name)
    for place in places:
        if place.is_file():
            return place
    raise DataNotFoundError(f"coco_folder: there is no picture {name} (looked for {', '.join(map(str, places))})")
