"""Images of the user's own, in the layout of torchvision's ImageFolder.

`<folder>/train/<class>/<file>` and `<folder>/test/<class>/<file>` (or `val`), or `<folder>/<class>/<file>` alone, which
the data seed splits.
"""

import warnings
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

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
TEST_FOLDERS = ("test", "val")


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    folder: str = parameter("images", "folder of the class folders (or of train and test), below the data folder")
    test_share: float = parameter(
        0.3, "part held out for testing where there is no train folder", unit="ratio", minimum=0.01, maximum=0.99
    )
    size: int = parameter(32, "rows and columns to which an image is squeezed", unit="px", minimum=4)
    colour: bool = parameter(True, "whether colours are kept: shape (3, size, size) instead of (size, size)")
    train_samples: int = parameter(0, "training images drawn by the data seed; 0: all", minimum=0)
    test_samples: int = parameter(0, "test images drawn by the data seed; 0: all", minimum=0)


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """Images of shape (3, size, size) or (size, size); only those drawn are decoded.

    DataNotFoundError and DataUnreadableError say which folder or file is wrong.
    """
    root = locate_folder(data_dir, "image_folder", params.folder)
    train, test = split(root, params.test_share, data_seed)
    rng = np.random.default_rng([data_seed, 1])
    use = draw(rng, len(train.files), params.train_samples)
    use_test = draw(rng, len(test.files), params.test_samples)
    decode = partial(decode_image, size=params.size, colour=params.colour)
    files = [train.files[each] for each in use] + [test.files[each] for each in use_test]
    x = decode_all(files, root, f"images_{'colour' if params.colour else 'grey'}_{params.size}", decode)
    train_x, test_x = x[: len(use)], x[len(use) :]
    return Task(train_x, train.labels[use], test_x, test.labels[use_test], len(train.classes), scale=1 / 255)


def split(root: Path, test_share: float, data_seed: int) -> tuple[Labelled, Labelled]:
    """Training and test files, as the folders say or else as the seed does; they have the same classes."""
    if (root / "train").is_dir():
        tests = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
        if not tests:
            raise DataNotFoundError(f"image_folder: {root} has a folder train, but none named test or val")
        train = find(root / "train", SUFFIXES)
        return train, find(tests[0], SUFFIXES, train.classes)
    images = find(root, SUFFIXES)
    test = held_out(images.labels, np.arange(len(images.files)), test_share, data_seed)
    parts = [np.flatnonzero(each) for each in (~test, test)]
    train, held = (
        Labelled(images.classes, tuple(images.files[each] for each in part), images.labels[part]) for part in parts
    )
    if not held.files:
        raise DataNotFoundError(f"image_folder: {root} has one image a class; none can be held out for testing")
    return train, held


def decode_image(file: Path, size: int, colour: bool) -> NDArray[np.uint8]:
    """An image squeezed to a square: (3, size, size) or grey (size, size); ValueError or OSError where it cannot be."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file) as image:
                image.draft("RGB", (size, size))  # a JPEG is decoded no larger than needed
                small = image.convert("RGB" if colour else "L").resize((size, size), Image.Resampling.BILINEAR)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError, SyntaxError) as error:
            raise ValueError(str(error)) from error
    pixels = np.asarray(small, np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if colour else pixels
