"""Where data sets that are not shipped with Edgebed lie: a folder with one sub-folder a data set."""

import os
from pathlib import Path, PurePosixPath

from node_image.outcomes import UnfitError

VARIABLE = "EDGEBED_DATA"


class DataNotFoundError(UnfitError):
    """A data set's file is not where it was looked for; the message says how to give the folder."""


class DataUnreadableError(UnfitError):
    """Files of a data set are there and cannot be used; the message names them and says why."""


def locate(data_dir: str | None, data_set: str, file: str) -> Path:
    """Path of a data set's file below the data folder (given, or in the environment); DataNotFoundError without it."""
    path = _below(data_dir, data_set, f"{data_set}/{file}")
    if not path.is_file():
        raise DataNotFoundError(f"{data_set}: there is no file {path}. {_remedy(f'{data_set}/{file}')}")
    return path


def locate_folder(data_dir: str | None, task: str, folder: str) -> Path:
    """Path of a folder of the user's own files below the data folder; DataNotFoundError without it.

    Raises ValueError for a folder that is not below it: a scenario may come from somebody else.
    """
    parts = PurePosixPath(folder).parts
    if not parts or ".." in parts or PurePosixPath(folder).is_absolute():
        raise ValueError(f"{task}: a folder is named by its path below the data folder (found {folder!r})")
    path = _below(data_dir, task, folder)
    if not path.is_dir():
        raise DataNotFoundError(f"{task}: there is no folder {path}. {_remedy(folder)}")
    return path


def _below(data_dir: str | None, name: str, wanted: str) -> Path:
    folder = data_dir or os.environ.get(VARIABLE)
    if not folder:
        raise DataNotFoundError(f"{name}: no data folder is set. {_remedy(wanted)}")
    return Path(folder, wanted)


def _remedy(wanted: str) -> str:
    return f"Give the folder that holds {wanted} with --data FOLDER or {VARIABLE}=FOLDER."
