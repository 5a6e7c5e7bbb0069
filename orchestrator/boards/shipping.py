"""Shipping: node_image as one archive that is the same bytes every time, sent where that content is not there yet."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import node_image
from node_image.board.arrival import LIBRARIES, tree_hash
from orchestrator.boards.link import BoardLink
from orchestrator.errors import UsageError

SEND_WITHIN_S = 120.0
SEND_LEAST_BPS = 1e6  # a wheel may take as long as it needs on a link this slow
INSTALL_WITHIN_S = 1800.0
UNPACKED = 5  # times the archive's size is what it needs on a board, with room for what runs write


@dataclass(frozen=True)
class Archive:
    """node_image as it is here; `tree` is the hash of its content, which names its folder on a board."""

    tree: str
    sha256: str
    content: bytes = field(repr=False)


@cache
def archive() -> Archive:
    """The archive of this process's own node_image; the same files give the same bytes."""
    folder = Path(node_image.__file__).parent
    content = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as files,
    ):
        for path in sorted(each for each in folder.rglob("*") if each.is_file() and "__pycache__" not in each.parts):
            member = tarfile.TarInfo(f"node_image/{path.relative_to(folder).as_posix()}")
            member.size = path.stat().st_size
            with path.open("rb") as file:
                files.addfile(member, file)
    return Archive(tree_hash(folder), hashlib.sha256(content.getvalue()).hexdigest(), content.getvalue())


async def ship(link: BoardLink) -> bool:
    """Put node_image on a board; False where exactly this content was there already."""
    packed = archive()
    found = await link.ask("have", store=link.board.store, tree=packed.tree)
    if found["have"]:
        return False
    await link.ask(
        "receive",
        SEND_WITHIN_S,
        raw=packed.content,
        store=link.board.store,
        kind="tree",
        name=packed.tree,
        bytes=len(packed.content),
        sha256=packed.sha256,
    )
    return True


def wheels_for(folder: Path, machine: str) -> tuple[Path, ...]:
    """The wheels of a folder that a machine of this kind (`aarch64`) can use; UsageError where there is none."""
    found = sorted(folder.glob("*.whl"))
    if not found:
        raise UsageError(f"no wheels (*.whl) in {folder}; fill it with: pip download -d {folder} {' '.join(LIBRARIES)}")
    return tuple(path for path in found if path.name.endswith("-any.whl") or path.name[:-4].endswith(machine))


async def install(link: BoardLink, wheels: Sequence[Path], libraries: Sequence[str] = LIBRARIES) -> str:
    """Install libraries on a board from wheels that are sent there, asking no registry; returns the Python that has
    them. A board's `python`, where the inventory names one, is what the environment is made with.
    """
    for path in wheels:
        content = path.read_bytes()
        await link.ask(
            "receive",
            SEND_WITHIN_S + 8 * len(content) / SEND_LEAST_BPS,
            raw=content,
            store=link.board.store,
            kind="wheel",
            name=path.name,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
    made = await link.ask("install", INSTALL_WITHIN_S, libraries=list(libraries), **link.places())
    return str(made["python"])
