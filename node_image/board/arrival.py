"""The arrival: the first thing on a board. One file, sent over SSH as text; needs nothing but Python 3.8.

It looks at the board, takes in what a run needs (each file with its SHA-256), and then becomes the agent. Requests and
answers are JSON objects, one a line, on stdin and stdout: {"do": ..., "id": n} is answered by {"answer": ..., "id": n}
or {"error": text, "id": n}. Before any of them it says {"arrived": NONCE}, so that what a login shell prints is told
apart from it.

    look      store, python (or null), data (interface or null): what there is; see `look`
    clock     nothing: the monotonic and the wall clock
    have      store, tree: whether node_image with that content is there, complete
    receive   store, kind (tree | wheel), name, bytes, sha256: as many raw bytes follow the line
    install   store, python, libraries: a virtual environment of the store's own, from the wheels received alone
    meter     store, tree, python, meter (as the inventory has it): a reading of it, or what is wrong with it
    become    store, tree, python, root: turn into the agent of that tree (agent.py), as root where sudo allows it

Nothing that comes in is ever part of a command line of a shell: programs are started with lists of arguments.
"""

from __future__ import annotations  # Python 3.8 reads this file

import contextlib
import fcntl
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import time
from typing import IO, Any

CHUNK = 1 << 16
TRY_WITHIN_S = 60
INSTALL_WITHIN_S = 1800
SIOCGIFADDR = 0x8915
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--python")  # the base's pip: Debian's venv brings none
LIBRARIES = ("torch", "numpy", "msgpack", "safetensors", "scikit-learn")
QDISCS = {
    "netem": ("netem", "delay", "1ms"),
    "htb": ("htb",),
    "tbf": ("tbf", "rate", "1mbit", "burst", "5kb", "latency", "50ms"),
}
ASK_LIBRARIES = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = None
print(json.dumps({"version": list(sys.version_info[:3]), "libraries": found}))
"""
Request = Any  # a JSON object
WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!-]*\.whl")


class RefusedError(Exception):
    """What was asked cannot be done here; the text says why."""


def tree_hash(folder: pathlib.Path) -> str:
    """SHA-256 over the names and contents of all files below a folder; compiled Python does not count."""
    total = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and "__pycache__" not in each.parts):
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        total.update(json.dumps([name, len(content), hashlib.sha256(content).hexdigest()]).encode())
    return total.hexdigest()


def tree_folder(store: pathlib.Path, tree: str) -> pathlib.Path:
    """Where node_image with that content lies; `tree` must be a SHA-256."""
    if not re.fullmatch("[0-9a-f]{64}", tree):
        raise RefusedError(f"not a SHA-256: {tree!r}")
    return store / f"tree-{tree}"


def open_store(text: str) -> pathlib.Path:
    """The folder for what runs leave here, made if it is not there: readable for its owner alone."""
    store = pathlib.Path(text).expanduser()
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    return store


def have(request: Request) -> Request:
    """Whether the tree is there with exactly the content that its name says."""
    folder = tree_folder(open_store(request["store"]), request["tree"]) / "node_image"
    return {"have": folder.is_dir() and tree_hash(folder) == request["tree"]}


def receive(request: Request) -> Request:
    """Take in raw bytes; nothing is put in place before its hash is right. Reads all of them, whatever goes wrong."""
    problem = ""
    scratch: pathlib.Path | None = None
    file: IO[bytes] = io.BytesIO()
    digest, left = hashlib.sha256(), request["bytes"]
    try:
        store = open_store(request["store"])
        scratch = store / f"incoming-{os.getpid()}"
        file = scratch.open("wb")
    except OSError as error:
        problem = told(error)
    with file:
        while left:
            chunk = sys.stdin.buffer.read(min(CHUNK, left))
            if not chunk:
                raise RefusedError("the connection ended in the middle of a file")
            left -= len(chunk)
            digest.update(chunk)
            if not problem:
                try:
                    file.write(chunk)
                except OSError as error:
                    problem = told(error)
        try:
            file.flush()
        except OSError as error:
            problem = problem or told(error)
    try:
        if problem or scratch is None:
            raise RefusedError(problem)
        if digest.hexdigest() != request["sha256"]:
            raise RefusedError("what arrived has another SHA-256 than what was sent")
        if request["kind"] == "tree":
            unpack(scratch, store, request["name"])
        elif WHEEL.fullmatch(request["name"]):
            (store / "wheels").mkdir(mode=0o700, exist_ok=True)
            scratch.replace(store / "wheels" / request["name"])
        else:
            raise RefusedError(f"not the name of a wheel: {request['name']!r}")
    finally:
        if scratch is not None:
            with contextlib.suppress(OSError):
                scratch.unlink()
    return {"received": request["bytes"]}


def unpack(archive: pathlib.Path, store: pathlib.Path, tree: str) -> None:
    """Unpack node_image into a fresh folder, check its content, and only then give it its name."""
    final = tree_folder(store, tree)
    fresh = store / f"fresh-{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(mode=0o700)
        with tarfile.open(archive, "r:gz") as files:
            for member in files:
                name = pathlib.PurePosixPath(member.name)
                if not member.isfile() or name.is_absolute() or ".." in name.parts or name.parts[0] != "node_image":
                    raise RefusedError(f"the archive holds {member.name!r}")
                target = fresh / name
                target.parent.mkdir(parents=True, exist_ok=True)
                content = files.extractfile(member)
                target.write_bytes(content.read() if content is not None else b"")
        if tree_hash(fresh / "node_image") != tree:
            raise RefusedError("what was unpacked has another content than was sent")
        if final.exists():  # one that was changed since it was put there, or that another run has just put there
            old = store / f"old-{os.getpid()}"
            final.replace(old)
            shutil.rmtree(old, ignore_errors=True)
        fresh.replace(final)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def told(error: OSError) -> str:
    """An error of the system in a few words."""
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")


def look(request: Request) -> Request:
    """What this board is and has. Changes nothing but the store, which is made; every part fails by itself."""
    ssh = os.environ.get("SSH_CONNECTION", "").split()
    found: Request = {
        "python": list(sys.version_info[:3]),
        "executable": sys.executable,
        "machine": platform.machine(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "user_id": os.geteuid(),
        "boot_id": read_word("/proc/sys/kernel/random/boot_id"),
        "wall_s": time.time(),
        "memory_bytes": available_memory(),
        "interfaces": interfaces(),
        "ssh_address": ssh[2] if len(ssh) == 4 else None,
        "tun": pathlib.Path("/dev/net/tun").exists(),
    }
    found.update(store_facts(request["store"]))
    python = chosen_python(request)
    found["agent_python"] = python
    found["agent"] = ask_python(python)
    found["root"], found["root_said"] = may_be_root(python)
    found["shapers"] = {kind: try_shaper(arguments) for kind, arguments in QDISCS.items()} if found["root"] else {}
    return found


def clock(request: Request) -> Request:
    """This board's monotonic and wall clocks, now."""
    return {"monotonic_s": time.monotonic(), "wall_s": time.time()}


def store_facts(text: str) -> Request:
    """Whether the store can be written to, and how much room it has."""
    try:
        store = open_store(text)
        probe = store / f"probe-{os.getpid()}"
        try:
            probe.write_bytes(bytes(CHUNK))
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
        return {"store_problem": "", "free_bytes": shutil.disk_usage(store).free}
    except OSError as error:
        return {"store_problem": told(error), "free_bytes": None}


def chosen_python(request: Request) -> str:
    """The interpreter that nodes run with: the one named, or the store's own environment, or ours."""
    own = pathlib.Path(request["store"]).expanduser() / "venv" / "bin" / "python"
    if request.get("python"):
        return str(request["python"])
    return str(own) if own.exists() else sys.executable


def ask_python(python: str) -> Request:
    """Version of an interpreter and of the libraries that a node needs, as far as they are there."""
    worked, said = attempt([python, "-I", "-c", ASK_LIBRARIES, *LIBRARIES])
    try:
        return json.loads(said) if worked else {"problem": said}
    except ValueError:
        return {"problem": said[-200:]}


def may_be_root(python: str) -> tuple[bool, str]:
    """Whether the agent can run as root: it is, or `sudo -n` lets it."""
    if os.geteuid() == 0:
        return True, "root"
    return attempt(["sudo", "-n", "-l", "--", python])


def as_root(arguments: list[str]) -> list[str]:
    """The command for root."""
    return arguments if os.geteuid() == 0 else ["sudo", "-n", "--", *arguments]


def try_shaper(arguments: tuple[str, ...]) -> str:
    """Add traffic control of a kind to the loopback of a namespace of its own; what the kernel said if it refuses."""
    worked, said = attempt(as_root(["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", *arguments]))
    return "" if worked else said or "refused"


def try_meter(request: Request) -> Request:
    """A reading of the board's meter, by the shipped node_image and with the rights that the agent has."""
    folder = tree_folder(open_store(request["store"]), request["tree"])
    arguments = [chosen_python(request), "-B", "-m", "node_image.meters.look", json.dumps(request["meter"])]
    may, _ = may_be_root(arguments[0])
    worked, said = attempt(as_root(arguments) if may else arguments, folder=folder)
    if not worked:
        raise RefusedError(said or "it said nothing")
    return json.loads(said.splitlines()[-1])


def attempt(
    arguments: list[str], within_s: float = TRY_WITHIN_S, folder: pathlib.Path | None = None
) -> tuple[bool, str]:
    """Run a program; (worked, what it said)."""
    try:
        done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=within_s, cwd=folder)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return False, f"{arguments[0]}: {error.strerror if isinstance(error, OSError) else error}"
    worked = done.returncode == 0
    said = (done.stdout if worked else done.stderr or done.stdout).decode("utf-8", "replace").strip()
    return worked, said if worked else said[-500:]


def interfaces() -> dict[str, str]:
    """IPv4 address of each network interface that has one."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(control, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found[name] = socket.inet_ntoa(answer[20:24])
    return found


def available_memory() -> int | None:
    """Bytes of memory that processes can still get; None where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def read_word(path: str) -> str | None:
    """The one word of a file, or None."""
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_text().strip()
    return None


def install(request: Request) -> Request:
    """A virtual environment from wheels that were received, asking no registry; it replaces the store's own."""
    store = open_store(request["store"])
    fresh, final = store / f"fresh-venv-{os.getpid()}", store / "venv"
    base = request.get("python") or sys.executable
    wheels = ["--no-index", "--find-links", str(store / "wheels")]
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for arguments in (
            [base, "-m", "venv", "--without-pip", "--system-site-packages", str(fresh)],
            [base, *PIP, str(fresh), "install", *wheels, "--", *request["libraries"]],
        ):
            worked, said = attempt(arguments, INSTALL_WITHIN_S)
            if not worked:
                raise RefusedError(f"{' '.join(arguments[1:3])}: {said}")
        shutil.rmtree(final, ignore_errors=True)
        fresh.replace(final)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return {"python": str(final / "bin" / "python")}


def become(request: Request) -> Request:
    """Replace this process by the agent: same stdin, same stdout. It says {"agent": ...} when it is there."""
    store = open_store(request["store"])
    folder = tree_folder(store, request["tree"])
    arguments = [chosen_python(request), "-u", "-B", "-m", "node_image.board.agent"]
    os.chdir(str(folder))
    argv = arguments if not request["root"] else as_root(arguments)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise RefusedError(f"{argv[0]}: {error.strerror}") from error


def say(message: Request) -> None:
    """One JSON line."""
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


REQUESTS: dict[str, Any] = {
    "look": look,
    "clock": clock,
    "have": have,
    "receive": receive,
    "install": install,
    "meter": try_meter,
    "become": become,
}


def main() -> None:
    """Answer requests until the connection ends; the first line is the nonce to arrive with."""
    say({"arrived": json.loads(sys.stdin.buffer.readline())["nonce"]})
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        try:
            say({"answer": REQUESTS[request["do"]](request), "id": request["id"]})
        except (RefusedError, OSError, tarfile.TarError, EOFError) as error:
            say({"error": told(error) if isinstance(error, OSError) else str(error), "id": request["id"]})


if __name__ == "__main__":
    main()
