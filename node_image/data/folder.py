"""Where data sets that are not shipped with Edgebed lie: a folder with one sub-folder a data set."""

import os
from pathlib import Path

VARIABLE = "EDGEBED_DATA"


class DataNotFoundError(Exception):
    """A data set's file is not where it was looked for; the message says how to give the folder."""


def locate(data_dir: str | None, data_set: str, file: str) -> Path:
    """Path of a data set's file below the data folder (given, or in the environment); DataNotFoundError without it."""
    folder = data_dir or os.environ.get(VARIABLE)
    remedy = f"Give the folder that holds {data_set}/{file} with --data FOLDER or {VARIABLE}=FOLDER."
    if not folder:
        raise DataNotFoundError(f"{data_set}: no data folder is set. {remedy}")
    path = Path(folder, data_set, file)
    if not path.is_file():
        raise DataNotFoundError(f"{data_set}: there is no file {path}. {remedy}")
    return path
