"""Boards without any board: the inventory's mistakes, who goes where, and what an arrival takes in."""

import asyncio
import io
import json
import tarfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import yaml

from node_image.board.arrival import RefusedError, tree_hash, unpack
from orchestrator.boards.check import checks_of
from orchestrator.boards.inventory import Board, Inventory, load_inventory
from orchestrator.boards.link import BoardLink, reach
from orchestrator.boards.placement import pairs_in_the_open, place, runs_at_its_own_speed, this_machine
from orchestrator.boards.remote import on_our_clock
from orchestrator.boards.shipping import archive, install, ship, wheels_for
from orchestrator.errors import RunBrokeError, ScenarioError, UsageError
from orchestrator.hosts.ssh import COMMAND, HostKey, pin, pinned_keys, printable
from orchestrator.outcome import RunOptions
from orchestrator.substrates import SUBSTRATES
from tests.plans import BOARD, star

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "a\ntouch pwned",
    "| sh",
    "&& false",
    "'",
    '"',
    "\\",
    "*",
    "-rf",
)


def key_file(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text("a key")
    path.chmod(mode)
    return path


def written(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "boards.yaml"
    path.write_text(yaml.safe_dump({"boards": list(entries)}, sort_keys=False))
    return path


def entry(folder: Path, name: str = "pi", **changes: Any) -> dict[str, Any]:
    own = {"name": name, "host": f"{name}.local", "user": "pi", "key": "key", "profile": "raspberry_pi_4"}
    return {key: value for key, value in {**own, **changes}.items() if value is not None}


def problems(path: Path) -> list[str]:
    with pytest.raises(ScenarioError) as raised:
        load_inventory(path)
    return [str(problem) for problem in raised.value.problems]


def board(name: str, profile: str, host: str = "somewhere") -> Board:
    return Board(name, host, 22, "pi", Path("key"), profile)


def with_link(story: Callable[[BoardLink], Coroutine[None, None, None]], store: Path) -> None:
    """The arrival on this machine, reached as one on a board is, with a store of its own."""
    here = Board("here", "here", 0, "", Path(), "server", store=str(store))

    async def told() -> None:
        link = await reach(here, Path("none"))
        try:
            await story(link)
        finally:
            await link.close()

    asyncio.run(told())


def test_the_shipped_example_has_no_mistakes_but_the_keys_that_are_not_there() -> None:
    found = problems(ROOT / "scenarios" / "boards" / "example.yaml")
    assert len(found) == 3
    assert all("ssh-keygen" in line for line in found)


def test_mistakes_of_a_meter_are_told_with_the_others_each_at_its_key(tmp_path: Path) -> None:
    key_file(tmp_path)
    path = written(
        tmp_path,
        entry(tmp_path, "one", meter={"kind": "ina3222"}),
        entry(tmp_path, "two", meter={"kind": "rapl", "memory": "yes", "rout": "/sys"}),
        entry(tmp_path, "three", meter={"kind": "smart_plug"}),
        entry(tmp_path, "four", meter="rapl"),
        entry(tmp_path, "five", meter={}),
    )
    told = {line.split(": ")[1]: line for line in problems(path)}
    assert "unknown meter (found 'ina3222'); known: ina219" in told["boards.0.meter.kind"]
    assert "did you mean 'ina3221'?" in told["boards.0.meter.kind"]
    assert "must be true or false (found 'yes')" in told["boards.1.meter.memory"]
    assert "unknown key (found 'rout'); known: kind, memory" in told["boards.1.meter.rout"]
    assert "is required" in told["boards.2.meter.url"]
    assert "must be a mapping with a kind" in told["boards.3.meter"]
    assert "is required; known: ina219" in told["boards.4.meter.kind"]
    assert told["boards.1.meter.rout"].startswith(f"{path}:17:5:")


def test_all_mistakes_of_an_inventory_are_told_at_once_each_at_its_place(tmp_path: Path) -> None:
    key_file(tmp_path)
    path = written(
        tmp_path,
        entry(tmp_path, "one", port=70000, key="nowhere"),
        entry(tmp_path, "Two words"),
        entry(tmp_path, "three", host="a; reboot", usr="pi"),
        entry(tmp_path, "four", profile="raspberry_pi_44"),
        entry(tmp_path, "one", host="one.local", user=None),
    )
    found = problems(path)
    assert found == sorted(found, key=lambda line: [int(part) for part in line.split(":")[1:3]]), "as they stand"
    told = {line.split(": ")[1]: line for line in found}
    assert sorted(told) == [
        "boards.0.key",
        "boards.0.port",
        "boards.1.host",
        "boards.1.name",
        "boards.2.host",
        "boards.2.usr",
        "boards.3.profile",
        "boards.4.name",
        "boards.4.user",
    ]
    assert told["boards.0.port"] == f"{path}:7:9: boards.0.port: must be less than or equal to 65535 (found 70000)"
    assert "ssh-keygen -t ed25519" in told["boards.0.key"]
    assert "not a host name or an IP address (found 'a; reboot')" in told["boards.2.host"]
    assert "did you mean 'raspberry_pi_4'" in told["boards.3.profile"]


def test_a_key_that_others_may_read_and_doubles_are_mistakes_too(tmp_path: Path) -> None:
    key = key_file(tmp_path, 0o640)
    found = problems(written(tmp_path, entry(tmp_path, "one"), entry(tmp_path, "two", user=None)))
    assert f"boards.0.key: others may read {key} (mode 640); chmod 600 {key}" in found[0]
    key_file(tmp_path)
    found = problems(written(tmp_path, entry(tmp_path, "one"), entry(tmp_path, "two", user=None)))
    assert [line.split(": ", 1)[1] for line in found] == ["boards.1.user: is required, unless the host is `here`"]
    found = problems(written(tmp_path, entry(tmp_path, "one"), entry(tmp_path, "one")))
    assert any("boards.1.host: this is the same machine as one" in line for line in found)
    assert any("boards.1.name: a board of this name stands above" in line for line in found)


def test_hosts_full_of_what_shells_act_on_are_refused_all_of_them(tmp_path: Path) -> None:
    key_file(tmp_path)
    hosts = [f"{HOSTILE[number % len(HOSTILE)]}{number}" for number in range(200)]
    path = written(tmp_path, *(entry(tmp_path, f"b{number}", host=host) for number, host in enumerate(hosts)))
    assert len(problems(path)) == 200


def test_what_runs_over_ssh_is_one_constant_command() -> None:
    assert COMMAND.count("'") == 2, "quoted once, with nothing inside that could end the quotes"
    assert not any(part in COMMAND for part in ("{", "%", "$", "`", "\\"))


def test_a_good_inventory_is_read_with_its_defaults(tmp_path: Path) -> None:
    key = key_file(tmp_path)
    inventory = load_inventory(written(tmp_path, entry(tmp_path, "one", data={"address": "10.0.0.2"})))
    assert inventory.known_hosts == tmp_path / "boards.known_hosts"
    (found,) = inventory.boards
    assert (found.port, found.key, found.address, found.interface) == (22, key, "10.0.0.2", None)


def warnings_of(path: Path, *, insecure: bool = False) -> list[str]:
    """What is said at the start of a run over these boards."""
    options = RunOptions(out=path.parent / "run", substrate="ssh", boards=path, insecure=insecure)
    return SUBSTRATES["ssh"].warns(star(2), options)


def test_messages_are_encrypted_unless_insecure_is_typed_and_then_that_is_said(tmp_path: Path) -> None:
    key_file(tmp_path)
    path = written(tmp_path, entry(tmp_path))
    assert load_inventory(path).insecure is False
    assert warnings_of(path) == []
    (warning,) = warnings_of(path, insecure=True)
    assert warning.startswith("insecure: ")
    assert "(--insecure)" in warning
    boards = path.read_text()
    path.write_text(f"{boards}messages: insecure\n")
    assert load_inventory(path).insecure is True
    (warning,) = warnings_of(path)
    assert "(`messages: insecure` in boards.yaml)" in warning
    for value in ("plain", "true", "off", "Insecure"):
        path.write_text(f"{boards}messages: {value}\n")
        (problem,) = problems(path)
        assert "messages: " in problem
        assert "insecure" in problem
    emulated = written(tmp_path, {"name": "all", "host": "here", "profile": "raspberry_pi_4"})
    assert warnings_of(emulated, insecure=True) == [], "nothing leaves this machine"


def test_pairs_in_the_open_are_those_of_which_one_is_on_a_board() -> None:
    plan = star(3)
    boards = (board("one", "other"), board("here", "other", "here"))
    places = place(plan, boards)
    assert {name: where.name for name, where in places.items()} == {
        "coordinator": "here",
        "d-1": "one",
        "d-2": "here",
        "d-3": "one",
    }
    pairs = {frozenset(("coordinator", device)) for device in ("d-1", "d-3")}
    assert pairs_in_the_open(plan, places) == pairs
    everybody_away = {name: board("one", "other") for name in places}
    assert len(pairs_in_the_open(plan, everybody_away)) == 3, "two nodes on one board speak by the fabric"


def test_devices_go_to_boards_of_their_profile_and_else_to_the_one_with_least_to_do() -> None:
    plan = star(5)  # profile "board"
    places = place(plan, (board("a", "other"), board("b", "board"), board("c", "board")))
    assert [places[f"d-{number}"].name for number in range(1, 6)] == ["b", "c", "b", "c", "b"]
    assert places["coordinator"].is_here
    places = place(plan, (board("a", "x"), board("b", "y")))
    assert [places[f"d-{number}"].name for number in range(1, 6)] == ["a", "b", "a", "b", "a"]


def test_the_coordinator_goes_to_a_board_of_its_profile() -> None:
    assert place(star(1), (board("a", "board"), board("b", "server")))["coordinator"].name == "b"


def test_only_a_board_of_the_devices_profile_runs_it_at_its_own_speed() -> None:
    device = star(1).nodes[1]
    assert device.profile == BOARD
    assert runs_at_its_own_speed(device, board("a", "board"))
    assert not runs_at_its_own_speed(device, board("a", "other"))
    assert not runs_at_its_own_speed(device, board("a", "board", host="here")), "this machine is no board"
    assert runs_at_its_own_speed(star(1).nodes[0], this_machine("server"))


def test_a_nodes_times_are_moved_to_our_clock_and_nothing_else_is() -> None:
    line = '{"t":2.5,"metric":"round","value":1.0,"labels":{}}'
    assert json.loads(on_our_clock(line, -0.25)) == {**json.loads(line), "t": 2.25}
    assert on_our_clock(line, 0.0) is line
    assert on_our_clock('{"t":"later"}', 0.5) == '{"t":"later"}'


def test_a_hosts_key_is_pinned_by_host_and_port(tmp_path: Path) -> None:
    key = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIIiIKAZoBSfC3FRVNPy1rvsAeRq2F0cjJ0UC5OyoV4Nd")
    known_hosts = tmp_path / "known"
    pin(known_hosts, board("a", "x"), key)
    assert pinned_keys(known_hosts, board("a", "x")) == [key]
    assert pinned_keys(known_hosts, Board("a", "somewhere", 2222, "pi", Path("key"), "x")) == []
    assert key.fingerprint.startswith("SHA256:")


def test_what_a_server_says_cannot_move_the_cursor() -> None:
    assert printable("\x1b[2J\rhello\n") == "?[2J?hello"
    assert len(printable("x" * 5000)) < 300


def test_the_archive_is_the_same_bytes_every_time_and_holds_node_image_alone() -> None:
    first = archive()
    archive.cache_clear()
    assert archive().content == first.content
    with tarfile.open(fileobj=io.BytesIO(first.content)) as files:
        names = files.getnames()
    assert "node_image/board/agent.py" in names
    assert all(name.startswith("node_image/") and "__pycache__" not in name for name in names)


def test_node_image_is_shipped_once_and_again_when_somebody_changed_it(tmp_path: Path) -> None:
    async def story(link: BoardLink) -> None:
        assert await ship(link)
        assert not await ship(link)
        (folder,) = tmp_path.glob("tree-*")
        (folder / "node_image" / "tcp.py").write_text("import os\n")
        assert await ship(link)
        assert tree_hash(folder / "node_image") == archive().tree
        assert [path.name for path in tmp_path.iterdir()] == [folder.name], "nothing of the way there is left"

    with_link(story, tmp_path)


def test_names_full_of_what_shells_act_on_are_names_and_nothing_more(tmp_path: Path) -> None:
    names = [f"{HOSTILE[number % len(HOSTILE)]}{number}" for number in range(200)]

    async def story(link: BoardLink) -> None:
        for name in names:
            found = await link.ask("have", store=f"{tmp_path}/{name}", tree="0" * 64)
            assert found == {"have": False}

    with_link(story, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert not list(tmp_path.rglob("pwned"))


def packed(name: str, content: bytes = b"x") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as files:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        files.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "node_image/../../out", "elsewhere/file"])
def test_an_archive_that_reaches_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(packed(name))
    with pytest.raises(RefusedError):
        unpack(tmp_path / "a", tmp_path, "0" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_arrives_with_another_hash_is_not_put_in_place(tmp_path: Path) -> None:
    async def story(link: BoardLink) -> None:
        content = archive().content
        with pytest.raises(RunBrokeError, match="another SHA-256"):
            await link.ask(
                "receive",
                raw=content,
                store=str(tmp_path),
                kind="tree",
                name=archive().tree,
                bytes=len(content),
                sha256="0",
            )
        assert list(tmp_path.iterdir()) == []
        assert await ship(link), "the connection is still of use"

    with_link(story, tmp_path)


def wheel(folder: Path) -> Path:
    """A wheel of a library that is nowhere else."""
    import zipfile

    path, info = folder / "edgebedprobe-1.0-py3-none-any.whl", "edgebedprobe-1.0.dist-info"
    files = {
        "edgebedprobe.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: edgebedprobe\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in files) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archived:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archived.writestr(name, text)
    return path


@pytest.mark.slow
def test_libraries_are_installed_from_wheels_we_carry_and_then_used(tmp_path: Path) -> None:
    store = tmp_path / "store"

    async def story(link: BoardLink) -> None:
        python = await install(link, [wheel(tmp_path)], ["edgebedprobe"])
        assert python == str(store / "venv" / "bin" / "python")
        found = await link.ask("look", **link.places())
        assert found["agent_python"] == python

    with_link(story, store)
    assert list((store / "venv").rglob("edgebedprobe.py"))


def test_wheels_of_other_machines_stay_here(tmp_path: Path) -> None:
    for name in ("a-1-py3-none-any.whl", "b-1-cp311-cp311-linux_aarch64.whl", "c-1-cp311-cp311-linux_x86_64.whl"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name[0] for path in wheels_for(tmp_path, "aarch64")] == ["a", "b"]
    with pytest.raises(UsageError, match="pip download"):
        wheels_for(tmp_path / "none", "aarch64")


LOOKED = {
    "agent": {"version": [3, 11, 2], "libraries": {"torch": "2"}},
    "agent_python": "python3",
    "machine": "aarch64",
    "free_bytes": 1e9,
    "store_problem": "",
    "memory_bytes": 1e9,
    "root": True,
    "root_said": "root",
    "user_id": 0,
    "tun": True,
    "interfaces": {"eth0": "10.0.0.2"},
    "ssh_address": "10.0.0.2",
    "shapers": {},
}


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("python", {"agent": {"version": [3, 9, 2], "libraries": {"torch": "2"}}}),
        ("python", {"agent": {"problem": "no such file"}}),
        ("libraries", {"agent": {"version": [3, 11, 2], "libraries": {"torch": None}}}),
        ("disk", {"free_bytes": 1e6}),
        ("disk", {"store_problem": "Read-only file system"}),
        ("root", {"root": False, "root_said": "a password is required"}),
        ("tunnel", {"tun": False}),
        ("data", {"interfaces": {"eth1": "10.0.0.3"}}),
    ],
)
def test_what_a_board_lacks_fails_its_check_with_a_remedy(check: str, change: dict[str, Any]) -> None:
    one = board("a", "x")
    assert [each.name for each in checks_of(one, LOOKED, 0.0) if each.status != "ok"] == ["netem"]
    failed = [each for each in checks_of(one, {**LOOKED, **change}, 0.0) if each.status == "fail"]
    assert check in [each.name for each in failed]
    assert all(each.remedy for each in failed if each.name == check)


def test_a_clock_that_is_wrong_is_told_and_nothing_is_refused_for_it() -> None:
    (clock,) = (each for each in checks_of(board("a", "x"), LOOKED, -3600.0) if each.name == "clock")
    assert (clock.status, clock.found) == ("warn", "3600.000 s behind ours")


def test_an_inventory_pins_its_keys_beside_itself() -> None:
    assert Inventory(Path("lab/boards.yaml"), ()).known_hosts == Path("lab/boards.known_hosts")


def test_the_hash_of_a_tree_sees_names_and_contents_and_no_compiled_python(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = tree_hash(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("2")
    assert tree_hash(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "b")
    assert tree_hash(tmp_path) != first
