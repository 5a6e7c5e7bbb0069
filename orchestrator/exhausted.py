"""What has run out: an error of the operating system in words that name the resource and what to do about it."""

import errno

_RESOURCES = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another folder with --out"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another folder with --out"),
    errno.EROFS: ("the file system is read-only", "choose another folder with --out"),
    errno.EACCES: ("permission denied", "choose a folder that is yours, with --out, or run as who owns it"),
    errno.EPERM: ("not permitted", "run it as root, or in a container with more rights"),
    errno.EMFILE: ("too many open files", "raise this shell's limit: ulimit -n 65536"),
    errno.ENFILE: ("too many open files on this machine", "raise it: sysctl fs.file-max"),
    errno.ENOMEM: ("not enough memory", "take fewer devices or a smaller model, or a machine with more"),
    errno.EAGAIN: (
        "no more processes or threads",
        "raise this shell's limit: ulimit -u, or the container's pids limit",
    ),
    errno.EIO: ("the disk does not work (input/output error)", "choose another folder with --out"),
}
_NO_MEMORY = ("failed to map segment", "Cannot allocate memory", "cannot allocate memory")


def in_words(error: BaseException) -> str | None:
    """What ran out and the remedy in one line; None where it is another kind of error."""
    if isinstance(error, MemoryError) or (isinstance(error, ImportError) and any(w in str(error) for w in _NO_MEMORY)):
        what, remedy = _RESOURCES[errno.ENOMEM]
        return f"{what}: {remedy}"
    if not isinstance(error, OSError) or error.errno not in _RESOURCES:
        return None
    what, remedy = _RESOURCES[error.errno]
    where = f" at {error.filename}" if error.filename is not None else ""
    return f"{what}{where} ({errno.errorcode[error.errno]}): {remedy}"
