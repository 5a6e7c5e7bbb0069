"""Fetch the one wheel for CPython 3.11 on this architecture that a pylock.toml on stdin names, and check its hash.

python scripts/locked_wheel.py FOLDER < pylock.toml
"""

import hashlib
import platform
import sys
import tomllib
import urllib.parse
import urllib.request
from pathlib import Path


def main() -> None:
    """Write it into the folder named on the command line."""
    (package,) = tomllib.load(sys.stdin.buffer)["packages"]
    ending = f"{platform.machine()}.whl"
    (wheel,) = [each for each in package["wheels"] if "-cp311-cp311-" in each["url"] and each["url"].endswith(ending)]
    with urllib.request.urlopen(wheel["url"]) as answer:
        content = answer.read()
    if hashlib.sha256(content).hexdigest() != wheel["hashes"]["sha256"]:
        sys.exit(f"{wheel['url']}: its SHA-256 is not the one that the index names")
    name = urllib.parse.unquote(wheel["url"].rsplit("/", 1)[-1])
    (Path(sys.argv[1]) / name).write_bytes(content)


if __name__ == "__main__":
    main()
