"""The image of a node: what it is made from, and how it is made.

One folder gathers all that `docker build` needs - Dockerfile, requirements.txt, wheels/, node_image/ - so that the
build itself has no network. What it gives is rewritten without its times (archive.py), so that the same files give the
same image, by its id.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.command import run
from orchestrator.errors import MachineCannotError, RunBrokeError
from orchestrator.hosts.archive import repeatable
from orchestrator.hosts.container import (
    CONTENT_LABEL,
    IMAGE,
    EngineError,
    client_of,
    engine_address,
    inspect,
    missing_engine,
    told,
)

if TYPE_CHECKING:
    from docker import APIClient

ROOT = Path(__file__).parents[2]
NODE_IMAGE = ROOT / "node_image"
RECIPE = ("Dockerfile", "requirements.txt")
FOLDER = ROOT / "build" / "image"
BUILT = "edgebed-node-build"  # what the builder gave: its layers serve the next build
DEBOOTSTRAP = "debootstrap"
DEBOOTSTRAPPED = "edgebed-base:bookworm"
SUITE = "bookworm"  # its Python is 3.11
BASE_PACKAGES = ("python3", "libstdc++6", "base-files", "base-passwd", "coreutils", "dash", "libc-bin")
NOT_NEEDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
WITHIN_S = 1800.0  # downloads, compiling half a million lines


@cache
def content() -> str:
    """A hash of what the image is made from here: node_image's modules and the two files that say how."""
    found = hashlib.sha256()
    for path in (*(NODE_IMAGE / name for name in RECIPE), *sorted(NODE_IMAGE.rglob("*.py"))):
        found.update(f"{path.relative_to(NODE_IMAGE)}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def archive_of(folder: Path = FOLDER) -> Path:
    """Where `make_image` leaves the image as an archive for `docker load`; the name has the content's hash."""
    return folder / f"{IMAGE}-{content()[:16]}.tar"


def make_image(base: str, say: Callable[[str], None], *, anew: bool = False, folder: Path = FOLDER) -> str:
    """Make the image on this base (`debootstrap`: from Debian's packages) and have the engine hold it; its id.

    What was built before serves again, unless it is to be made `anew`. Raises MachineCannotError or RunBrokeError with
    the remedy.
    """
    address = engine_address()
    missing = missing_engine(address)
    if missing:
        raise MachineCannotError(missing[0])
    context = folder / "context"
    context.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock, client_of(address, WITHIN_S) as client:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever makes it at the same time is waited for
        if base == DEBOOTSTRAP:
            base = DEBOOTSTRAPPED
            if anew or not _is_there(client, base):
                say("making the base from Debian's packages")
                _import_base(client, folder / "base.tar")
        elif not _is_there(client, base):
            _pull_base(client, base)
        say("gathering wheels, as pinned in node_image/requirements.txt")
        gather(context)
        say(f"building on {base}, without a network")
        _build(client, context, base, anew)
        say("leaving out the times")
        return _load_repeatable(client, folder)


def load_archive(archive: Path) -> None:
    """Have the engine hold an image that `make_image` has left as an archive."""
    with client_of(engine_address(), WITHIN_S) as client, told(f"load {archive.name}"), archive.open("rb") as file:
        for step in client.load_image(file):  # type: ignore[no-untyped-call]  # the SDK's stubs lack it
            _fail_on_error(step, f"load {archive.name}")


def gather(folder: Path) -> None:
    """Fill a folder with what the build needs; wheels that are there already are kept."""
    for name in RECIPE:
        shutil.copyfile(NODE_IMAGE / name, folder / name)
    shutil.rmtree(folder / "node_image", ignore_errors=True)
    for path in NODE_IMAGE.rglob("*.py"):
        copy = folder / "node_image" / path.relative_to(NODE_IMAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    _run(("bash", str(ROOT / "scripts" / "wheels.sh"), str(folder / "wheels")), "fill the folder of wheels")


def make_base(file: Path) -> None:
    """A root file system with Python from Debian's packages, as a tar archive: the same packages, the same bytes.

    The packages are unpacked and not configured, which takes seconds and leaves out what differs between machines.
    """
    if shutil.which("mmdebstrap") is None:
        raise MachineCannotError("mmdebstrap makes the base image from Debian's packages: apt-get install mmdebstrap")
    if os.geteuid() != 0:
        raise MachineCannotError("making a base image from Debian's packages needs root")
    hooks = (
        'cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd"',
        'cp "$1/usr/share/base-passwd/group.master" "$1/etc/group"',
        'rm -f "$1/etc/hostname" "$1/etc/resolv.conf"',  # this machine's
    )
    argv = (
        *("mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(BASE_PACKAGES)}"),
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in NOT_NEEDED),
        *(f"--customize-hook={hook}" for hook in hooks),
        *(SUITE, str(file)),
    )
    _run(("env", "SOURCE_DATE_EPOCH=0", *argv), "make a base image from Debian's packages")


def _is_there(client: "APIClient", image: str) -> bool:
    try:
        with told(f"look for the image {image}"):
            inspect(client, image)
    except EngineError as error:
        if not error.missing:
            raise
        return False
    return True


def _import_base(client: "APIClient", file: Path) -> None:
    make_base(file)
    repository, tag = DEBOOTSTRAPPED.split(":")
    with told("import the base image"):
        client.import_image_from_file(str(file), repository=repository, tag=tag)
    file.unlink()


def _pull_base(client: "APIClient", base: str) -> None:
    try:
        with told(f"pull the base image {base}"):
            client.pull(base)
    except EngineError as error:
        remedy = "make image BASE=debootstrap makes a base from Debian's packages; BASE=NAME takes another"
        raise MachineCannotError(f"{error}\n{remedy}") from error


def _build(client: "APIClient", context: Path, base: str, anew: bool) -> None:
    with told("build the image"):
        steps = client.build(
            path=str(context),
            tag=BUILT,
            buildargs={"BASE_IMAGE": base},
            labels={CONTENT_LABEL: content()},
            network_mode="none",
            nocache=anew,
            rm=True,
            forcerm=True,
            decode=True,
        )
        said = ""
        for step in steps:
            said = (said + str(step.get("stream", "")))[-2000:]
            if "error" in step:
                raise EngineError(f"the Docker engine could not build the image: {step['error']}\n{said}")


def _load_repeatable(client: "APIClient", folder: Path) -> str:
    """Replace the image by what was built, rewritten; the id that it has."""
    saved, archive = folder / "saved.tar", archive_of(folder)
    for old in folder.glob(f"{IMAGE}-*.tar"):
        old.unlink()
    try:
        with told("save the image"), saved.open("wb") as file:
            for chunk in client.get_image(BUILT):
                file.write(chunk)
        expected = repeatable(saved, archive, f"{IMAGE}:latest")
    finally:
        saved.unlink(missing_ok=True)
    load_archive(archive)
    found = str(inspect(client)["Id"])
    if found != expected:
        raise RunBrokeError(f"the engine calls the image {found}, and by its content it is {expected}")
    return found


def _fail_on_error(step: object, what: str) -> None:
    if isinstance(step, dict) and "error" in step:
        raise EngineError(f"the Docker engine could not {what}: {step['error']}")


def _run(argv: tuple[str, ...], what: str) -> None:
    ran = run(argv, WITHIN_S)
    if ran.returncode != 0:
        last = "\n".join(ran.output.splitlines()[-12:])
        raise RunBrokeError(f"could not {what}: {argv[0]} ended with {ran.returncode}:\n{last}")
