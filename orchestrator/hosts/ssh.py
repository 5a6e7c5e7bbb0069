"""SSH: the only door to paramiko. A board's host key must be pinned; what runs there is one constant command.

Nothing of a scenario or an inventory ever becomes part of a command line: the command reads its program from stdin.
"""

import base64
import hashlib
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko

from orchestrator.boards.inventory import Board, problem_of_key
from orchestrator.errors import MachineCannotError
from orchestrator.hosts.stream import BOOTSTRAP

# The whole of what any shell of a board gets to see: it holds no single quote inside.
COMMAND = f"exec python3 -I -u -c '{BOOTSTRAP}'"
CONNECT_WITHIN_S = 10.0
KEEPALIVE_S = 5
WINDOW_BYTES = 4 << 20
CHUNK = 1 << 16

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it tells by exceptions what it also logs


class BoardError(MachineCannotError):
    """A board cannot be reached or used; `remedy` says what to do."""

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{where}: {problem}. Try: {remedy}")


@dataclass(frozen=True)
class HostKey:
    """What a host proves itself with."""

    kind: str
    base64: str

    @property
    def fingerprint(self) -> str:
        """`SHA256:...`, as ssh-keygen -l prints it."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def pinned_name(board: Board) -> str:
    """A host in known_hosts, as OpenSSH writes it."""
    return board.host if board.port == 22 else f"[{board.host}]:{board.port}"


def pinned_keys(known_hosts: Path, board: Board) -> list[HostKey]:
    """The keys that are pinned for a board."""
    try:
        found = paramiko.HostKeys(str(known_hosts)).lookup(pinned_name(board)) if known_hosts.exists() else None
    except (OSError, paramiko.SSHException) as error:
        raise BoardError(board.where, f"cannot read {known_hosts}: {error}", "edgebed boards enroll") from error
    return [] if found is None else [HostKey(kind, found[kind].get_base64()) for kind in found]


def pin(known_hosts: Path, board: Board, key: HostKey) -> None:
    """Add a line to known_hosts."""
    with known_hosts.open("a", encoding="utf-8") as file:
        file.write(f"{pinned_name(board)} {key.kind} {key.base64}\n")
    known_hosts.chmod(0o600)


def offered_key(board: Board) -> HostKey:
    """Ask a board for its host key, without logging in. BoardError where it cannot be reached."""
    with _plainly(board), _socket(board) as connected:
        transport = paramiko.Transport(connected)
        try:
            transport.banner_timeout = CONNECT_WITHIN_S
            transport.start_client(timeout=CONNECT_WITHIN_S)
            key = transport.get_remote_server_key()
            return HostKey(key.get_name(), key.get_base64())
        finally:
            transport.close()


class SshStream:
    """The one transport to a board, and on it the one command: bytes in, bytes out. Its methods block."""

    def __init__(self, client: paramiko.SSHClient, channel: paramiko.Channel) -> None:
        self._client = client
        self._channel = channel
        self.read: Callable[[], bytes] = lambda: channel.recv(CHUNK)
        self.read_errors: Callable[[], bytes] = lambda: channel.recv_stderr(CHUNK)
        self.write: Callable[[bytes], None] = channel.sendall

    def code(self) -> int | None:
        """See Stream; -1: the connection broke before the board could tell."""
        return int(self._channel.recv_exit_status())

    def close(self) -> None:
        """See Stream."""
        self._channel.close()
        self._client.close()

    def dispose(self) -> None:
        """Nothing is left to let go of."""


def connect(board: Board, known_hosts: Path) -> SshStream:
    """Log in with the board's one key and start COMMAND there. BoardError with the remedy where that fails.

    No agent, no other keys, no password, no forwarding; a host key that is not pinned is refused.
    """
    if problem := problem_of_key(board.key):
        raise BoardError(board.where, problem, f"make {board.key} a private key file of your own, mode 600")
    if not pinned_keys(known_hosts, board):
        raise BoardError(
            board.where, f"its host key is not pinned in {known_hosts}", f"edgebed boards enroll --board {board.name}"
        )
    client = paramiko.SSHClient()
    try:
        with _plainly(board):
            client.load_host_keys(str(known_hosts))
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
            connected = _socket(board)
            client.connect(
                board.host,
                port=board.port,
                username=board.user,
                key_filename=str(board.key),
                sock=connected,
                timeout=CONNECT_WITHIN_S,
                banner_timeout=CONNECT_WITHIN_S,
                auth_timeout=CONNECT_WITHIN_S,
                channel_timeout=CONNECT_WITHIN_S,
                allow_agent=False,
                look_for_keys=False,
            )
            transport = client.get_transport()
            assert transport is not None, "it has just connected"
            transport.set_keepalive(KEEPALIVE_S)
            channel = transport.open_session(window_size=WINDOW_BYTES, timeout=CONNECT_WITHIN_S)
            channel.exec_command(COMMAND)
            return SshStream(client, channel)
    except BaseException:
        client.close()
        raise


def _socket(board: Board) -> socket.socket:
    connected = socket.create_connection((board.host, board.port), CONNECT_WITHIN_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


@contextmanager
def _plainly(board: Board) -> Iterator[None]:
    """Whatever goes wrong on the way to a board, in words, with a remedy; nothing that a server said is shown raw."""
    try:
        yield
    except paramiko.BadHostKeyException as error:
        found = HostKey(error.key.get_name(), error.key.get_base64()).fingerprint
        raise BoardError(
            board.where,
            f"its host key has CHANGED: it now offers {found}, and another one is pinned. Somebody may be in between",
            f"find out why; if the board was set up anew, remove its line from the known_hosts file and enroll it again"
            f" (edgebed boards enroll --board {board.name})",
        ) from error
    except paramiko.AuthenticationException as error:
        raise BoardError(
            board.where,
            f"it does not let {board.user} in with the key {board.key}",
            f"ssh-copy-id -i {board.key} -p {board.port} {board.user}@{board.host}",
        ) from error
    except socket.gaierror as error:
        raise BoardError(board.where, f"no such host ({error.strerror})", "correct `host` in the inventory") from error
    except TimeoutError as error:
        remedy = "is it on, and is the address right?"
        raise BoardError(board.where, f"no answer within {CONNECT_WITHIN_S:g} s", remedy) from error
    except ConnectionRefusedError as error:
        remedy = "start its SSH server, or correct `port` in the inventory"
        raise BoardError(board.where, "nothing listens on that port", remedy) from error
    except (paramiko.SSHException, EOFError, OSError, UnicodeError, ValueError) as error:
        said = printable(str(error) or type(error).__name__)
        raise BoardError(
            board.where, f"no SSH connection ({said})", "is an SSH server there, and is the key an SSH private key?"
        ) from error


def printable(text: str, most: int = 200) -> str:
    """What a board said, harmless for a terminal: one line, no control characters, not for ever."""
    shown = "".join(each if each.isprintable() else "?" for each in text.strip())
    return shown if len(shown) <= most else shown[:most] + "..."
