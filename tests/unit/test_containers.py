"""What of containers needs no engine: why there is none, the engine's stream, their groups, the image's recipe."""

import asyncio
import hashlib
import io
import json
import os
import re
import socket
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from orchestrator import journal
from orchestrator.errors import MachineCannotError, ScenarioError
from orchestrator.hosts import image
from orchestrator.hosts.archive import repeatable
from orchestrator.hosts.attached import Attached
from orchestrator.hosts.container import Engine, Running, missing_engine
from orchestrator.journal import Journal
from orchestrator.outcome import RunOptions
from orchestrator.plan import make_plan, plan_from_json, plan_json
from orchestrator.scenario import load_scenario
from orchestrator.substrates import SUBSTRATES
from orchestrator.substrates.container_group import ContainerGroup
from orchestrator.substrates.control_groups import Bounds, Mounts

ROOT = Path(__file__).parents[2]


def test_without_an_engine_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    (lack,) = missing_engine(f"unix://{tmp_path}/docker.sock")
    assert "the Docker engine is missing" in lack
    assert "apt-get install docker.io" in lack


def test_an_engine_that_has_gone_is_told_from_none(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "docker.sock"))
    (lack,) = missing_engine(f"unix://{tmp_path}/docker.sock")
    assert "the Docker engine does not answer" in lack
    assert "systemctl start docker" in lack


def test_a_socket_that_we_may_not_use_is_named_with_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docker.sock"
    path.touch()

    def refuse(self: socket.socket, address: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    (lack,) = missing_engine(f"unix://{path}")
    assert f"permission for the Docker engine's socket {path} is missing" in lack
    assert f"join group {path.group()}" in lack


@pytest.mark.parametrize("address", ["tcp://10.0.0.7:2375", "ssh://pi@board"])
def test_an_engine_elsewhere_will_not_do(address: str) -> None:
    (lack,) = missing_engine(address)
    assert "must be on this machine" in lack
    assert "unset DOCKER_HOST" in lack


def test_what_a_dead_engine_holds_keeps_nothing_else_from_being_cleaned(tmp_path: Path) -> None:
    group = tmp_path / "edgebed-run"
    with Journal(tmp_path) as written:
        written.make("cgroup", str(group))
        written.make("containers", f"unix://{tmp_path}/docker.sock run")
    with pytest.raises(MachineCannotError, match="the Docker engine is missing"):
        journal.clean(tmp_path)
    assert [left.kind for left in journal.leftovers(tmp_path)] == ["containers"]


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", kind, len(data)) + data


def test_stdout_and_stderr_of_a_container_are_taken_apart_wherever_a_packet_ends(tmp_path: Path) -> None:
    sent = frame(1, b'{"event":"ready"}\n') + frame(2, b"a warning\n") + frame(1, b"x" * 100_000 + b"\n")

    async def take() -> tuple[bytes, bytes]:
        ours, engine = socket.socketpair()
        stdin, stdout, ended = await Attached(ours, tmp_path / "stderr").open()
        os.write(stdin, b"hello\n")
        heard = engine.recv(6)

        def say() -> None:
            for begin in range(0, len(sent), 7777):
                engine.sendall(sent[begin : begin + 7777])
            engine.close()

        with os.fdopen(stdout, "rb") as file:
            _, read = await asyncio.gather(asyncio.to_thread(say), asyncio.to_thread(file.read))
        await ended
        os.close(stdin)
        return heard, read

    heard, read = asyncio.run(take())
    assert heard == b"hello\n"
    assert read == b'{"event":"ready"}\n' + b"x" * 100_000 + b"\n"
    assert (tmp_path / "stderr").read_bytes() == b"a warning\n"


def test_what_a_container_used_is_kept_when_it_is_gone_and_adds_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = Mounts(tmp_path, None, None, None)
    lives = [tmp_path / "first", tmp_path / "second"]
    for folder, usage in zip(lives, (2_000_000, 500_000), strict=True):
        folder.mkdir()
        (folder / "cpu.stat").write_text(f"usage_usec {usage}\nthrottled_usec 100000\n")
        (folder / "memory.current").write_text("4096")
        (folder / "cgroup.procs").write_text("41\n42\n")
    monkeypatch.setattr(
        "orchestrator.substrates.container_group.bounds_of",
        lambda pid, mounts: Bounds(mounts, lives[pid], lives[pid], lives[pid], lives[pid]),
    )
    group = ContainerGroup(Engine("run", "unix:///nowhere"), mounts)
    with socket.socket() as stream:
        group.enter(Running("id", "name", 0, stream))
        assert (group.cpu_s(), group.throttled_s(), group.memory_bytes()) == (2.0, 0.1, 4096)
        assert group.pids() == (41, 42)
        for file in lives[0].iterdir():
            file.unlink()
        lives[0].rmdir()
        assert (group.cpu_s(), group.throttled_s(), group.memory_bytes()) == (2.0, 0.1, 0)
        assert group.pids() == ()
        assert group.set_share(0.5) is None
        group.enter(Running("id", "name", 1, stream))
    assert group.cpu_s() == 2.5
    assert group.throttled_s() == pytest.approx(0.2)


def saved(path: Path, *, mtime: int, builder: str) -> Path:
    """An image as an engine saves it: one layer, of files made at that time, with what the builder adds of its own."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as files:
        for name, content in (("edgebed", None), ("edgebed/a.py", b"print()\n")):
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.mtime, entry.size = mtime, len(content or b"")
            files.addfile(entry, io.BytesIO(content or b""))
    config = {
        "architecture": "amd64",
        "container": builder,
        "created": f"20{mtime % 100:02d}-01-01T00:00:00Z",
        "config": {"User": "65534:65534", "Hostname": builder, "Image": builder},
        "history": [{"created": f"{mtime}", "created_by": "COPY"}],
        "rootfs": {"type": "layers", "diff_ids": [hashlib.sha256(layer.getvalue()).hexdigest()]},
    }
    with tarfile.open(path, "w") as archive:
        manifest = [{"Config": "c.json", "RepoTags": ["x:latest"], "Layers": [f"{builder}/layer.tar"]}]
        for name, data in (
            ("c.json", json.dumps(config).encode()),
            (f"{builder}/layer.tar", layer.getvalue()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_an_image_built_twice_is_one_image(tmp_path: Path) -> None:
    ids = [
        repeatable(
            saved(tmp_path / "saved.tar", mtime=mtime, builder=builder),
            tmp_path / f"{builder}.tar",
            "edgebed-node:latest",
        )
        for mtime, builder in ((1_700_000_000, "one"), (1_800_000_001, "two"))
    ]
    assert ids[0] == ids[1]
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        (described,) = json.load(archive.extractfile("manifest.json") or io.BytesIO())
        layer = (archive.extractfile(described["Layers"][0]) or io.BytesIO()).read()
        config = json.load(archive.extractfile(described["Config"]) or io.BytesIO())
    assert config["config"] == {"User": "65534:65534"}
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert (files.extractfile("edgebed/a.py") or io.BytesIO()).read() == b"print()\n"


def test_the_image_has_the_versions_that_are_locked() -> None:
    def pins(path: Path) -> set[str]:
        lines = path.read_text(encoding="utf-8").splitlines()
        return {
            re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() + line.split("==")[1] for line in lines if "==" in line
        }

    wanted = pins(ROOT / "node_image" / "requirements.txt")
    assert len(wanted) > 10
    assert wanted <= pins(ROOT / "requirements.lock")


def test_an_image_is_known_by_what_it_was_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in image.RECIPE:
        (tmp_path / name).write_text(name)
    module = tmp_path / "learner.py"
    module.write_text("a = 1\n")
    monkeypatch.setattr(image, "NODE_IMAGE", tmp_path)
    before = image.content.__wrapped__()
    (tmp_path / "notes.txt").write_text("not in the image")
    assert image.content.__wrapped__() == before
    module.write_text("a = 2\n")
    assert image.content.__wrapped__() != before


def test_a_group_may_say_what_it_lives_in_and_a_plan_that_does_not_is_as_before() -> None:
    smoke = ROOT / "scenarios" / "smoke.yaml"
    plain = make_plan(load_scenario(smoke))
    mixed = make_plan(load_scenario(smoke, ("devices.0.host=container", "coordinator={host: process}")))
    assert {node.name: node.host for node in mixed.nodes} == {
        "coordinator": "process",
        **{f"pi-{number}": "container" for number in (1, 2, 3, 4)},
    }
    assert '"host"' not in plan_json(plain)
    assert plan_from_json(plan_json(plain)) == plain
    assert plan_from_json(plan_json(mixed)) == mixed


def test_a_host_of_another_kind_is_refused_at_its_place() -> None:
    with pytest.raises(ScenarioError, match=r"devices\.0\.host: .*known: container, process"):
        load_scenario(ROOT / "scenarios" / "smoke.yaml", ("devices.0.host=vm",))


def test_containers_in_a_run_of_processes_need_an_engine_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    plan = make_plan(load_scenario(ROOT / "scenarios" / "smoke.yaml", ("devices.0.host=container",)))
    (lack,) = SUBSTRATES["mininet"].refuses(plan, RunOptions(out=tmp_path / "run"))
    assert lack.startswith("containers (pi) cannot be made: the Docker engine is missing")


def test_the_recipe_gives_up_all_rights() -> None:
    text = (ROOT / "node_image" / "Dockerfile").read_text(encoding="utf-8")
    assert "USER 65534:65534" in text
    assert 'ENTRYPOINT ["python3", "-m", "node_image"]' in text
