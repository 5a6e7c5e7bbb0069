"""Programs of one's own in a scenario: what may be written, what is planned, and what an attendant is told."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from node_image.records import Record
from node_image.workload.readings import KINDS
from node_image.workload.spec import Duty
from orchestrator.cli import main
from orchestrator.errors import MachineCannotError, ScenarioError, UsageError
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan, make_plan, plan_from_json, plan_json
from orchestrator.preflight import preflight
from orchestrator.scenario import dump_resolved, load_scenario
from orchestrator.substrates import SUBSTRATES, choose
from orchestrator.telemetry.collector import ending
from orchestrator.workload import words
from orchestrator.workload.figures import figures
from orchestrator.workload.launch import duty, furnish, hosts_text

SCENARIO = """\
name: own
stop_after: 10 s
devices:
  - {group: pi, count: 2, profile: raspberry_pi_4, link: wifi_2g4, cpu_share: 25 %}
  - {group: nano, count: 1, profile: jetson_nano, link: lte}
workload:
  ends: devices
  environment: {HOW: "{node.name} of {devices.count}"}
  files: [app]
  coordinator:
    - {run: ["{python}", serve.py, "{folder}/log"], ready: {port: 8000}}
  devices:
    - run: [ask, "http://{coordinator.address}:8000/{node.index}", "--braces={{x}}", 5]
      patterns: [{match: 'took (?P<took_s>[0-9.]+) ms', times: {took_s: 0.001}}]
  groups:
    nano:
      - {run: [other, "{devices.addresses}"], records: said.jsonl}
  metrics:
    took_s: {kind: sample, about: time of one request}
expect:
  - {metric: program.took_s_p95, at_most: 20 ms}
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "serve.py").write_text("pass\n")

    def write_one(text: str) -> Path:
        path = tmp_path / "own.yaml"
        path.write_text(text)
        return path

    return write_one


def planned(path: Path) -> Plan:
    return make_plan(load_scenario(path))


def problems(path: Path) -> list[str]:
    with pytest.raises(ScenarioError) as raised:
        load_scenario(path)
    return [f"{each.line}:{each.column}: {each.path}: {each.text}" for each in raised.value.problems]


def test_the_words_in_braces_are_replaced_where_the_plan_knows_them(write: Write) -> None:
    nodes = {node.name: node.workload for node in planned(write(SCENARIO)).nodes}
    coordinator, second, other = nodes["coordinator"], nodes["pi-2"], nodes["nano-1"]
    assert coordinator and second and other
    assert coordinator.programs[0].run == ("{python}", "serve.py", "{folder}/log")
    assert second.programs[0].run == ("ask", "http://10.77.0.1:8000/1", "--braces={{x}}", "5")
    assert second.programs[0].environment == {"HOW": "pi-2 of 3"}
    assert other.programs[0].run == ("other", "10.77.0.2,10.77.0.3,10.77.0.4")
    assert (second.share, other.share) == (0.25, None)


def test_an_attendant_is_told_what_is_left_and_sees_nothing_of_our_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    plan = planned(write(SCENARIO))
    told = duty(plan, plan.nodes[0], Path("/run/{x}"), Path("/out"))
    assert told.output == "/out/nodes/coordinator"
    assert told.workload.programs[0].run == (sys.executable, "serve.py", "/run/{x}/log")
    assert told.environment["HOME"] == "/run/{x}"
    assert "SECRET_TOKEN" not in told.environment
    assert told.declared == {"took_s": "sample"}
    device = duty(plan, plan.nodes[2], Path("/f"), Path("/out"))
    assert device.workload.programs[0].run[2] == "--braces={x}"
    assert Duty.from_dict(json.loads(json.dumps(asdict(device)))) == device


def test_programs_know_the_nodes_by_their_names(write: Write) -> None:
    text = hosts_text(planned(write(SCENARIO)))
    assert text.splitlines() == [
        "127.0.0.1\tlocalhost",
        "10.77.0.1\tcoordinator",
        "10.77.0.2\tpi-1",
        "10.77.0.3\tpi-2",
        "10.77.0.4\tnano-1",
    ]


def test_files_are_copied_without_what_tools_leave_behind(tmp_path: Path, write: Write) -> None:
    (tmp_path / "app" / "__pycache__").mkdir()
    node = planned(write(SCENARIO)).nodes[0]
    folder = tmp_path / "node"
    folder.mkdir()
    assert node.workload is not None
    furnish(node.workload, folder)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == ["app", "app/serve.py"]


def test_the_plan_is_read_back_as_the_same_and_has_no_workload_where_something_is_learned(write: Write) -> None:
    plan = planned(write(SCENARIO))
    assert plan_from_json(plan_json(plan)) == plan
    learning = "learning: {task: digits, model: mlp, algorithm: fedavg}\n"
    text = "name: own\nstop_after: 1 s\ndevices: [{group: pi, count: 1, profile: server, link: lte}]\n" + learning
    assert "workload" not in plan_json(planned(write(text)))


def test_what_is_shown_as_resolved_is_read_as_the_same(write: Write, tmp_path: Path) -> None:
    scenario = load_scenario(write(SCENARIO))
    again = tmp_path / "again.yaml"
    again.write_text(dump_resolved(scenario))
    assert plan_json(make_plan(load_scenario(again))) == plan_json(make_plan(scenario))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            'run: [other, "{devices.addresses}"]',
            "run: other --fast",
            "must be a list of arguments, the program first; no shell",
        ),
        ("{devices.addresses}", "{device.addresses}", "did you mean 'devices.addresses'?"),
        ("{devices.addresses}", "{devices.addresses", "has a { by itself"),
        ('}}", 5]', '}}", 0.5]', "put it in quotes (found 0.5)"),
        (
            "ready: {port: 8000}",
            "ready: {port: 8000, log: up}",
            "give port, log or http, one of them (found port, log)",
        ),
        ("ready: {port: 8000}", "ready: {log: '('}", "not a regular expression"),
        ("ready: {port: 8000}", "ready: {http: 'https://x'}", "must begin with http://"),
        ("(?P<took_s>[0-9.]+) ms', times: {took_s: 0.001}", "(?P<tok_s>[0-9.]+)'", "unknown metric (found 'tok_s')"),
        ("took (?P<took_s>", "took (", "has no named group"),
        ("times: {took_s: 0.001}", "times: {took: 0.001}", "unknown group (found 'took')"),
        ("files: [app]", "files: [apps]", "there is nothing of that name"),
        ("    nano:\n", "    nanoo:\n", "unknown group (found 'nanoo')"),
        ("ends: devices", "ends: device", "unknown word (found 'device')"),
        ("program.took_s_p95", "program.take_s", "unknown metric of the workload (found 'take_s'); known: took_s"),
        ("took_s: {kind", "round_s: {kind", "is a metric of Edgebed's own"),
        ("workload:\n", "coordinator: none\nworkload:\n", "there is no coordinator in this scenario"),
        ("cpu_share: 25 %", "host: container", "programs run as processes of this machine"),
        ("workload:\n", "learning: {task: digits, model: mlp, algorithm: fedavg}\nworkload:\n", "not both"),
        ("expect:\n", "compare: {algorithm: [fedavg, fedasync]}\nexpect:\n", "a workload has no algorithm"),
    ],
)
def test_a_mistake_is_told_at_its_place(old: str, new: str, expected: str, write: Write) -> None:
    assert old in SCENARIO
    found = problems(write(SCENARIO.replace(old, new, 1)))
    assert any(expected in each for each in found), found


def test_all_mistakes_are_told_at_once(write: Write) -> None:
    text = SCENARIO.replace("{port: 8000}", "{port: 80000}").replace("[ask,", "[ask, {a: 1},").replace("app]", "no]")
    found = problems(write(text))
    assert [each.split(": ")[1] for each in found] == [
        "workload.files.0",
        "workload.coordinator.0.ready.port",
        "workload.devices.0.run.1",
    ]


def test_a_scenario_says_what_is_learned_or_what_runs(write: Write) -> None:
    text = "name: own\nstop_after: 1 s\ndevices: [{group: pi, count: 1, profile: server, link: lte, cpu_share: 5 %}]\n"
    assert problems(write(text)) == ["1:1: learning: is required (or workload)"]
    text += "learning: {task: digits, model: mlp, algorithm: fedavg}\nexpect: [{metric: program.x, at_least: 1}]\n"
    assert [each.split(": ")[1] for each in problems(write(text))] == ["devices.0.cpu_share", "expect.0.metric"]


def test_nothing_is_run_that_is_not_trusted(write: Write, tmp_path: Path) -> None:
    assert main(["run", str(write(SCENARIO)), "--out", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()


def test_the_reason_names_the_programs(write: Write) -> None:
    with pytest.raises(UsageError, match=r"runs programs on this machine.*: ask, other, \{python\}.*say --trust"):
        preflight(planned(write(SCENARIO)), SUBSTRATES["mininet"], RunOptions(Path("x")))


@pytest.mark.parametrize("name", ["simulation", "docker", "ssh"])
def test_elsewhere_programs_are_refused_with_the_reason(
    name: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = replace(SUBSTRATES[name], refuses=lambda _plan, _options: [])
    with pytest.raises(MachineCannotError, match=f"{name} cannot run the programs of a workload") as raised:
        preflight(planned(write(SCENARIO)), kind, RunOptions(Path("x"), trust=True))
    assert ("time is virtual" in str(raised.value)) == (name == "simulation")


@pytest.mark.parametrize("name", ["docker", "ssh"])
def test_that_is_said_before_anything_is_asked_for_that_would_not_help(name: str, write: Write) -> None:
    """Neither a Docker engine nor a file of boards."""
    with pytest.raises(MachineCannotError, match="use --substrate mininet"):
        choose(planned(write(SCENARIO)), RunOptions(Path("x"), substrate=name, trust=True))


def test_where_mininet_cannot_be_programs_are_not_offered_simulation(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = replace(SUBSTRATES["mininet"], missing=lambda: ["root is needed"])
    monkeypatch.setitem(SUBSTRATES, "mininet", without)
    with pytest.raises(MachineCannotError, match="mininet cannot run here:\n- root is needed"):
        choose(planned(write(SCENARIO)), RunOptions(Path("x"), trust=True))


def test_a_program_that_is_not_there_is_told_with_how_to_get_it(write: Write) -> None:
    text = SCENARIO.replace("{run: [other,", "{install: make other, run: [edgebed-no-such-program,")
    with pytest.raises(MachineCannotError, match="program edgebed-no-such-program is not there: make other"):
        preflight(planned(write(text)), SUBSTRATES["mininet"], RunOptions(Path("x"), trust=True))


def test_who_ends_the_run_is_whom_the_workload_names(write: Write) -> None:
    assert ending(planned(write(SCENARIO))) == {"pi-1", "pi-2", "nano-1"}
    assert ending(planned(write(SCENARIO.replace("ends: devices", "ends: time")))) == set()


def test_figures_are_added_kept_or_spread_by_the_kind_of_the_metric() -> None:
    def said(kind: str, name: str, *values: float) -> list[Record]:
        return [Record(float(t), KINDS[kind], value, {"name": name}) for t, value in enumerate(values)]

    nodes = {
        "a": [*said("counter", "hits", 1, 2), *said("gauge", "level", 5, 7), *said("sample", "took_s", 1, 2, 3)],
        "b": [*said("counter", "hits", 4), *said("gauge", "level", 1), Record(0.0, "round", 1.0)],
    }
    found = figures(nodes)
    assert (found["program.hits"], found["program.level"]) == (7.0, 4.0)
    assert (found["program.took_s"], found["program.took_s_mean"]) == (2.0, 2.0)
    assert found["program.took_s_p95"] == pytest.approx(2.9)
    assert len(found) == 5


def test_words_are_filled_in_two_steps_and_values_stay_as_they_are() -> None:
    half = words.fill("{node.name} {{folder}} {folder}", {"node.name": "{python}"})
    assert words.finish(half, {"folder": "/x", "python": "no"}) == "{python} {folder} /x"
