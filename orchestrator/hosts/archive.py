"""An image as an archive that depends on its content alone, so that what is built twice has one id.

An image's id is the hash of its configuration, which names the time of every step and the hash of every layer, and a
layer holds the time of every file. Here all times become one instant and what else a builder makes up is left out.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import IO, Any

INSTANT = "1970-01-01T00:00:00Z"
BUILDERS_OWN = ("container", "container_config", "docker_version", "id", "parent")
CHUNK = 1 << 20


def repeatable(saved: Path, archive: Path, tag: str) -> str:
    """Rewrite an archive of one image (as `docker save` gives it) for `docker load`; returns the id it will have."""
    with tarfile.open(saved) as source, tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as target:
        (image,) = json.loads(_member(source, "manifest.json").read())
        config = json.loads(_member(source, image["Config"]).read())
        layers, hashes = [], []
        for number, name in enumerate(image["Layers"]):
            scratch = archive.with_suffix(f".layer{number}")
            try:
                sha256 = _write_layer(_member(source, name), scratch)
                hashes.append(f"sha256:{sha256}")
                layers.append(f"{sha256}.tar")
                if layers[-1] not in layers[:-1]:
                    with scratch.open("rb") as layer:
                        _add(target, layers[-1], layer, scratch.stat().st_size)
            finally:
                scratch.unlink(missing_ok=True)
        text = json.dumps(_timeless(config, hashes), sort_keys=True).encode()
        sha256 = hashlib.sha256(text).hexdigest()
        _add(target, f"{sha256}.json", io.BytesIO(text), len(text))
        manifest = json.dumps([{"Config": f"{sha256}.json", "RepoTags": [tag], "Layers": layers}]).encode()
        _add(target, "manifest.json", io.BytesIO(manifest), len(manifest))
    return f"sha256:{sha256}"


def _timeless(config: dict[str, Any], hashes: list[str]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in BUILDERS_OWN}
    settings = {key: value for key, value in kept["config"].items() if key not in ("Hostname", "Image")}
    history = [{**step, "created": INSTANT} for step in kept.get("history", ())]
    root = {"type": "layers", "diff_ids": hashes}
    return {**kept, "config": settings, "created": INSTANT, "history": history, "rootfs": root}


def _write_layer(source: IO[bytes], file: Path) -> str:
    """The same files at the same instant, in the same order; returns the SHA-256 of the layer."""
    with (
        tarfile.open(fileobj=source, mode="r|*") as layer,
        tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as written,
    ):
        for entry in layer:
            entry.mtime = 0
            entry.uname = entry.gname = ""
            entry.pax_headers = {key: value for key, value in entry.pax_headers.items() if key.startswith("SCHILY.")}
            written.addfile(entry, layer.extractfile(entry) if entry.isreg() else None)
    with file.open("rb") as done:
        return hashlib.file_digest(done, "sha256").hexdigest()


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise ValueError(f"{name} of the archive is not a file")
    return found


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    archive.addfile(entry, content)
