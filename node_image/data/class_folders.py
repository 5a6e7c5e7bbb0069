"""Labelled files of the user's own: one folder a class, or lists that say which are for training and for testing."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node_image.data.folder import DataNotFoundError
from node_image.data.task import Labels

PURPOSE = 8  # of the random numbers drawn here, among all that come from the data seed


@dataclass(frozen=True)
class Labelled:
    """Files in the order of their names, and their labels, which count the classes from 0 in the same order."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: Labels


def find(root: Path, suffixes: Collection[str], classes: tuple[str, ...] = ()) -> Labelled:
    """All files root/<class>/<file> with these suffixes (of any case); hidden ones are left out.

    The classes are those of the folders that hold any, unless they are given. DataNotFoundError where there are no two
    classes, or one that is not among those given.
    """
    found = {
        folder.name: sorted(file for file in folder.iterdir() if _is_one(file, suffixes))
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
    }
    names = tuple(name for name, files in found.items() if files)
    if unknown := [name for name in names if classes and name not in classes]:
        raise DataNotFoundError(f"{root}: {unknown[0]} is no class of the training files ({_listed(classes)})")
    if not names or (not classes and len(names) < 2):
        raise DataNotFoundError(
            f"{root}: {_listed(names) or 'no folder'} holds {' or '.join(suffixes)} files; "
            "there must be two folders or more, one a class"
        )
    order = classes or names
    files = [(file, order.index(name)) for name in names for file in found[name]]
    return Labelled(order, tuple(file for file, _ in files), np.array([label for _, label in files], np.int64))


def held_out(labels: Labels, groups: NDArray[np.int64], share: float, data_seed: int) -> NDArray[np.bool_]:
    """Which files are for testing: of each class, groups drawn by the seed that have about that share of its files.

    Files of one group stay together, for they show the same scene; a class always keeps a group to learn from.
    """
    rng = np.random.default_rng([data_seed, PURPOSE])
    test = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        wanted = share * len(members)
        for group in rng.permutation(np.unique(groups[members]))[:-1]:
            if test[members].sum() >= wanted:
                break
            test[members[groups[members] == group]] = True
    return test


def _is_one(file: Path, suffixes: Collection[str]) -> bool:
    return file.suffix.lower() in suffixes and not file.name.startswith(".")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
