"""Reading the kernel's small files, with errors that say what to do."""

from pathlib import Path

from node_image.meters.base import MeterError

ROOT_ONLY = "Run as root, or let a udev rule give this file to a group of yours."


def text(path: Path, remedy: str) -> str:
    """Content of a file without its newline; MeterError with the remedy where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except PermissionError as error:
        raise MeterError(f"{path} may not be read by this user", ROOT_ONLY) from error
    except OSError as error:  # a sensor that is switched off answers with an error of its own
        raise MeterError(f"{path} cannot be read: {error.strerror}", remedy) from error


def number(path: Path, remedy: str) -> float:
    """The whole number in a file."""
    found = text(path, remedy)
    try:
        return float(int(found))
    except ValueError as error:
        raise MeterError(f"{path} holds {found[:40]!r} and no number", remedy) from error


def hwmon(root: Path, names: tuple[str, ...]) -> list[Path]:
    """Folders of sensors of these names under `<root>/hwmon*`, in order of their number."""
    folders = sorted(root.glob("hwmon*"), key=lambda folder: (len(folder.name), folder.name))
    return [folder for folder in folders if (folder / "name").is_file() and text(folder / "name", "") in names]
