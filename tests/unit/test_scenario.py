"""Scenarios: what may be written, what it becomes, and every mistake at its place.

The texts beside `tests/golden/errors/*.yaml` are what a user sees. Write them anew with EDGEBED_WRITE_GOLDEN=1.
"""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ScenarioError
from orchestrator.forms.scenario import CoordinatorForm
from orchestrator.plan import make_plan, plan_json
from orchestrator.presets import SHIPPED
from orchestrator.scenario import Scenario, dump_resolved, expand, load_scenario, notes
from orchestrator.written import Written
from orchestrator.yaml_loader import DataPath, read_yaml

GOLDEN = Path(__file__).parent.parent / "golden" / "errors"

BASE = """\
name: sample
stop_after: 100 s
devices:
  - {group: pi, count: 7, profile: raspberry_pi_4, link: wifi_2g4}
  - {group: nano, count: 3, profile: jetson_nano, link: lte}
learning:
  task: {name: digits, partition: {kind: dirichlet, alpha: 0.3}, stream: 20 samples/s}
  model: mlp
  algorithm: {name: fedasync, local_steps: 7, mixing: 60 %, rejoin_after: 500 ms}
"""

KEYS = (
    "kind",
    "name",
    "rate",
    "up",
    "preset",
    "base",
    "radio",
    "gateways",
    "groups",
    "seeds",
    "links",
    "trace",
    "metric",
)

Load = Callable[..., Scenario]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def from_text(more: str = "", *overrides: str, base: str = BASE) -> Scenario:
        path = tmp_path / "sample.yaml"
        path.write_text(base + more)
        return load_scenario(path, overrides)

    return from_text


def problems(load: Load, more: str = "", *overrides: str, base: str = BASE) -> str:
    with pytest.raises(ScenarioError) as caught:
        load(more, *overrides, base=base)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_all_mistakes_of_a_file_are_told_at_once_in_the_golden_words(path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    told = (
        str(caught.value).replace(f"{path.parent.resolve()}{os.sep}", "").replace(f"{path.parent}{os.sep}", "") + "\n"
    )
    if os.environ.get("EDGEBED_WRITE_GOLDEN"):
        path.with_suffix(".txt").write_text(told)
    assert told == path.with_suffix(".txt").read_text()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_scenario_loads_and_its_resolved_text_gives_the_same_plans(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(dump_resolved(scenario))
    again = load_scenario(resolved)
    assert dump_resolved(again) == dump_resolved(scenario)
    for one, other in zip(expand(scenario), expand(again), strict=True):
        assert plan_json(make_plan(one.scenario)) == plan_json(make_plan(other.scenario))


def test_values_are_in_base_units_and_defaults_are_filled_in(load: Load) -> None:
    scenario = load()
    assert (scenario.stop_after_s, scenario.seed, scenario.substrate) == (100.0, 1, "auto")
    algorithm = scenario.learning.algorithm
    assert (algorithm.parameters["mixing"], algorithm.parameters["rejoin_after_s"]) == (0.6, 0.5)
    assert algorithm.parameters["staleness"] == "polynomial"
    assert scenario.learning.task.stream_per_s == 20
    assert scenario.learning.task.partition.parameters == {"alpha": 0.3, "min_samples": 10}
    assert scenario.learning.rule.name == "backprop"
    assert isinstance(scenario.coordinator, CoordinatorForm)
    assert scenario.coordinator.profile.name == "server"


def test_a_link_may_be_a_preset_a_preset_with_changes_or_a_shape(load: Load) -> None:
    base = BASE.replace("link: wifi_2g4", "link: {preset: lte, loss: 2 %, up: {rate: 1 Mbit/s}}")
    base = base.replace("link: lte}", "link: {rate: 5 Mbit/s, delay: 10 ms}, link_down: {queue: 100 ms}}")
    pi, nano = load(base=base).devices
    assert pi.access is not None
    assert (pi.access.up.rate_bps, pi.access.down.rate_bps, pi.access.down.delay_s) == (1e6, 12e6, 0.035)
    assert pi.access.up.loss == pi.access.down.loss == 0.02
    assert nano.access is not None
    assert (nano.access.up.rate_bps, nano.access.up.queue, nano.access.up.delay_s) == (5e6, None, 0.01)
    assert nano.access.down.queue is not None
    assert nano.access.down.queue.time_s == 0.1


def test_a_device_pays_for_the_radio_of_its_link_unless_the_scenario_says_another(load: Load) -> None:
    def radio(group: str) -> str | None:
        profile = load(base=BASE.replace("profile: jetson_nano, link: lte", group)).devices[1].profile.profile()
        return profile.radio.name if profile.radio else None

    assert radio("profile: jetson_nano, link: lte") == "lte"
    assert radio("profile: jetson_nano, link: wifi_2g4") == "wifi_rpi"
    assert radio("profile: jetson_nano, link: ethernet_100") is None
    assert radio("profile: {base: jetson_nano, radio: ble}, link: lte") == "ble"
    assert radio("profile: {base: jetson_nano, radio: none}, link: lte") is None


def test_figures_changed_in_a_profile_lose_the_source_that_they_had(load: Load) -> None:
    profile = "profile: {base: jetson_nano, speed: {macs: 2 GMAC/s}, cores: 2}"
    changed = load(base=BASE.replace("profile: jetson_nano", profile)).devices[1].profile.profile()
    assert (changed.name, changed.cores, changed.speed.macs_per_s) == ("jetson_nano+speed+cores", 2, 2e9)
    assert changed.speed.op_overhead_s == 50e-6
    assert changed.speed_provenance.quality == "assumed"
    assert "the scenario" in changed.speed_provenance.source
    assert changed.power is not None
    assert "tegrastats" in changed.power.provenance.source


@pytest.mark.parametrize(("name", "packed"), [("x.down", False), ("x.down.gz", True), ("x.csv", False)])
def test_a_trace_is_found_beside_the_scenario_and_known_by_its_hash(
    load: Load, tmp_path: Path, name: str, packed: bool
) -> None:
    text = b"0, 12\n1, 12\n2, 12\n" if name.endswith("csv") else b"1\n2\n3\n4\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if packed else text)
    scenario = load(base=BASE.replace("link: lte", f"link: {{preset: lte, down: {{trace: {name}}}}}"))
    down = make_plan(scenario).links[-1].shape
    assert down.trace is not None
    assert down.rate_bps is None
    assert (down.trace.path, len(down.trace.sha256)) == (str(tmp_path / name), 64)
    assert down.trace.format == ("csv" if name.endswith("csv") else "mahimahi")
    assert down.queue_bytes == 150_000  # 100 ms at the mean of 12 Mbit/s


@pytest.mark.parametrize(
    ("text", "wrong"), [("1\nx\n", "x.down:2:1"), ("5\n3\n", "must not fall"), ("", "longer than 0 ms")]
)
def test_a_trace_that_cannot_be_played_is_a_problem_of_the_scenario(
    load: Load, tmp_path: Path, text: str, wrong: str
) -> None:
    (tmp_path / "x.down").write_text(text)
    told = problems(load, base=BASE.replace("link: lte", "link: {trace: x.down}"))
    assert "sample.yaml:5:" in told
    assert "devices.1.link.trace: trace x.down: " in told
    assert wrong in told


def test_overrides_change_values_and_their_mistakes_are_located_at_set(load: Load) -> None:
    scenario = load("", "devices.0.count=2", "learning.algorithm.name=fedavg", "learning.algorithm={name: fedavg}")
    assert (scenario.devices[0].count, scenario.learning.algorithm.name) == (2, "fedavg")
    assert load("", "topology.kind=ring").topology.kind == "ring"
    told = problems(load, "", "seed=2", "devices.0.count=none", "learning.algorithm.mixin=3", "foo.bar=1")
    assert told.splitlines()[0] == "--set:2:17: devices.0.count: must be a whole number (found 'none')"
    assert "--set:3:26: learning.algorithm.mixin: unknown key (found 'mixin'); known:" in told
    assert "--set:4:9: foo: unknown key (found 'foo')" in told


@pytest.mark.parametrize(
    ("assignment", "wrong"),
    [
        ("seed", "write PATH=VALUE"),
        ("=3", "write PATH=VALUE"),
        ("devices.7.count=3", "devices is a list of 2: no item 7"),
        ("devices.x=3", "devices is a list of 2: no item 'x'"),
        ("learning.0=3", "learning is a mapping, not a list"),
        ("devices.0.link.loss=1 %", "devices.0.link is 'wifi_2g4': there is nothing inside it to set"),
        ("seed=[1", "not YAML"),
    ],
)
def test_an_override_that_leads_nowhere_is_a_problem_at_set(load: Load, assignment: str, wrong: str) -> None:
    told = problems(load, "", assignment)
    assert told.startswith("--set:1:")
    assert wrong in told


def test_compare_gives_one_variant_for_each_combination_seeds_innermost(load: Load) -> None:
    scenario = load(
        "compare: {algorithm: [fedavg, {name: fedasync, mixing: 0.1}], topology.kind: [star, ring], seeds: 2}\n"
    )
    variants = expand(scenario)
    assert [variant.label for variant in variants] == [
        f"algorithm={algorithm} topology.kind={kind} seed={seed}"
        for algorithm in ("fedavg", "fedasync")
        for kind in ("star", "ring")
        for seed in (1, 2)
    ]
    assert {variant.scenario.seed == variant.seed for variant in variants} == {True}
    fedavg, fedasync = variants[0].scenario.learning.algorithm, variants[-1].scenario.learning.algorithm
    assert (fedavg.name, fedavg.parameters["local_steps"], fedavg.parameters["rejoin_after_s"]) == ("fedavg", 7, 0.5)
    assert (fedasync.parameters["mixing"], fedasync.parameters["local_steps"]) == (0.1, 7)
    assert variants[-1].scenario.topology.kind == "ring"


def test_the_same_algorithm_twice_is_told_apart_by_its_parameters(load: Load) -> None:
    scenario = load(
        "compare: {algorithm: [{name: fedavg, local_steps: 1}, {name: fedavg, local_steps: 2}], seeds: [9, 4]}\n"
    )
    assert [variant.label for variant in expand(scenario)] == [
        f"algorithm=fedavg(local_steps={steps}) seed={seed}" for steps in (1, 2) for seed in (9, 4)
    ]


ARMS = """\
compare:
  arms:
    - {name: rounds, algorithm: fedavg, learning.model: linear}
    - {name: gentle, algorithm: {name: fedasync, mixing: 0.1}, learning.algorithm.local_steps: 3}
  seeds: 2
  claims:
    - {metric: test_accuracy, arm: rounds, against: gentle, at_least: -2 %}
    - {metric: wire_bytes, arm: rounds, against: gentle, by: ratio, at_most: 0.7}
    - {metric: test_accuracy, arm: gentle, at_least: 80 %, where: [seed=1]}
"""


def test_an_arm_changes_several_values_at_once(load: Load) -> None:
    variants = expand(load(ARMS))
    assert [variant.label for variant in variants] == [
        f"arm={arm} seed={seed}" for arm in ("rounds", "gentle") for seed in (1, 2)
    ]
    rounds, gentle = variants[0].scenario.learning, variants[2].scenario.learning
    assert (rounds.algorithm.name, rounds.model.name, rounds.algorithm.parameters["local_steps"]) == (
        "fedavg",
        "linear",
        7,
    )
    assert (gentle.model.name, gentle.algorithm.parameters["mixing"]) == ("mlp", 0.1)
    assert gentle.algorithm.parameters["local_steps"] == 3


def test_claims_are_in_base_units_and_are_written_as_they_were(load: Load, tmp_path: Path) -> None:
    scenario = load(ARMS)
    assert scenario.compare is not None
    first, second, third = scenario.compare.claims
    assert (first.at_least, second.at_most, third.at_least) == (-0.02, 0.7, 0.8)
    (tmp_path / "again.yaml").write_text(dump_resolved(scenario))
    again = load_scenario(tmp_path / "again.yaml").compare
    assert again is not None
    assert again.claims == scenario.compare.claims


def test_without_compare_there_is_one_variant(load: Load) -> None:
    (variant,) = expand(load("", "seed=3"))
    assert (variant.label, variant.seed) == ("algorithm=fedasync", 3)


@pytest.mark.parametrize(
    ("compare", "wrong"),
    [
        ("{seed: [1, 2]}", "compare.seed: seed cannot be compared"),
        ("{seeds: 0}", "compare.seeds: must be how many"),
        ("{seeds: [1, 1]}", "compare.seeds: must be different whole numbers"),
        ("{algorithm: []}", "compare.algorithm: must be a list"),
        ("{algorithm: [fedavg, fedavg]}", "compare.algorithm.1: stands here twice"),
        ("{stop_after: [10 s, 20]}", "compare.stop_after.1: with stop_after=20: stop_after: a number without a unit"),
        ("{devices.5.count: [1]}", "compare.devices.5.count: devices is a list of 2: no item 5"),
        ("{seeds: 20000}", "compare: makes 20000 runs; at most 10000"),
        ("[fedavg]", "compare: must be a mapping"),
        ("{arms: [fedavg]}", "compare.arms.0: must be a mapping: name, and the values"),
        ("{arms: [{name: a, seed: 1}, {name: a, seed: 2}]}", "compare.arms.1.name: stands here twice"),
        ("{arms: [{name: a, learning.model: resnet}]}", "compare.arms.0.learning.model: with arm=a"),
        ("{arms: [{name: a, seed: 1}], claims: [{metric: round, arm: b, at_least: 1}]}", "unknown arm (found 'b')"),
        (
            "{arms: [{name: a, seed: 1}], claims: [{metric: round, arm: a}]}",
            "compare.claims.0: give at_least or at_most",
        ),
    ],
)
def test_a_comparison_that_cannot_be_made_is_a_problem(load: Load, compare: str, wrong: str) -> None:
    assert wrong in problems(load, f"compare: {compare}\n")


def test_every_seed_compared_must_give_a_connected_graph(load: Load) -> None:
    more = "topology: {kind: random_geometric, area: 100 m, radio_range: 45 m}\ncompare: {seeds: 20}\n"
    assert "topology.radio_range: with seed" in problems(load, more)


def test_a_fault_that_heals_after_the_end_is_allowed_but_noted(load: Load) -> None:
    scenario = load(
        "faults: [{kind: pause, at: 90 s, for: 20 s, count: 1}, {kind: pause, at: 1 s, for: 1 s, all: true}]\n"
    )
    assert notes(scenario) == ("faults.0: pause would heal at 110 s, after the end of the run",)


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("{kind: crash, at: 100 s, all: true}", "faults.0.at: is not before the end of the run"),
        ("{kind: crash, at: 1 s, group: pie}", "faults.0.group: unknown group (found 'pie'); known: nano, pi; did you"),
        ("{kind: crash, at: 1 s, group: nano, count: 4}", "faults.0.count: is more than the group nano has: 3 devices"),
        ("{kind: crash, at: 1 s, group: nano, share: 10 %}", "faults.0.share: comes to no device at all"),
        ("{kind: crash, at: 1 s, share: 0 %}", "faults.0.share: must be greater than 0"),
        ("{kind: crash, at: 1 s, nodes: [pi-9]}", "faults.0.nodes.0: unknown node (found 'pi-9')"),
        ("{kind: crash, at: 1 s}", "faults.0: on whom?"),
        ("{kind: crash, at: 1 s, group: pi, nodes: [pi-1]}", "faults.0: say whom in one way only (found group, nodes)"),
        ("{kind: crash, at: 1 s, links: [a-b]}", "faults.0.links: crash acts on nodes"),
        ("{kind: degrade, at: 1 s, loss: 1 %, links: [a-b]}", "faults.0.links.0: unknown link (found 'a-b')"),
        ("{kind: coordinator_crash, at: 1 s, count: 1}", "faults.0.count: coordinator_crash acts on the coordinator"),
        (
            "{kind: crash, at: 1 s, all: true, by: pause}",
            "faults.0.by: unknown key (found 'by'); known: all, at, count",
        ),
        ("{kind: degrade, at: 1 s, all: true}", "faults.0: nothing degrades"),
    ],
)
def test_a_fault_that_hits_nobody_or_nothing_is_a_problem(load: Load, fault: str, wrong: str) -> None:
    told = problems(load, f"faults:\n  - {fault}\n")
    assert wrong in told
    assert "sample.yaml:11:" in told


def test_faults_are_checked_against_the_devices_even_where_other_parts_are_wrong(load: Load) -> None:
    told = problems(load, "sed: 3\nfaults:\n  - {kind: crash, at: 200 s, count: 11}\n")
    assert "sed: unknown key (found 'sed'); known: " in told
    assert "faults.0.at: is not before the end" in told
    assert "faults.0.count: is more than the scenario has: 10 devices (found 11)" in told


def test_without_a_coordinator_it_cannot_crash(load: Load) -> None:
    more = "coordinator: none\nfaults: [{kind: coordinator_crash, at: 1 s}]\n"
    assert "faults.0.kind: there is no coordinator" in problems(load, more)


@pytest.mark.parametrize(
    ("devices", "wrong"),
    [
        ("[]", "devices: must not be empty"),
        ("[{group: hub, count: 1, profile: host, link: lte}]", "devices.0.group: is the name of something else"),
        ("[{group: a, names: [b, b], profile: host, link: lte}]", "devices.0: the name b is taken already"),
        (
            "[{group: a, names: [b], count: 2, profile: host, link: lte}]",
            "devices.0: count is 2, but there are 1 names",
        ),
        ("[{group: a, profile: host, link: lte}]", "devices.0: give count or names"),
        ("[{group: a, count: 1, profile: host}]", "topology: the group a needs a link"),
        (
            "[{group: a, count: 40000, profile: host, link: lte}, {group: b, count: 40000, profile: host}]",
            "more than 50000",
        ),
    ],
)
def test_devices_that_cannot_be_told_apart_or_linked_are_a_problem(load: Load, devices: str, wrong: str) -> None:
    base = BASE[: BASE.index("devices:")] + BASE[BASE.index("learning:") :]
    assert wrong in problems(load, f"devices: {devices}\n", base=base)


@pytest.mark.parametrize(
    ("expect", "wrong"),
    [
        ("{metric: test_acuracy, at_least: 1 %}", "unknown metric (found 'test_acuracy'); known: "),
        (
            "{metric: test_accuracy, at_least: 0.7}",
            "expect.0.at_least: a number without a unit; write a number and its",
        ),
        ("{metric: staleness_p95, at_most: 3 s}", "expect.0.at_most: staleness_p95 has no unit that is written"),
        ("{metric: round_s, at_least: 3 s, at_most: 2 s}", "expect.0: at_least is more than at_most"),
        ("{metric: round_s}", "expect.0: give at_least, at_most or both"),
    ],
)
def test_an_expectation_that_means_nothing_is_a_problem(load: Load, expect: str, wrong: str) -> None:
    assert wrong in problems(load, f"expect: [{expect}]\n")


def test_expectations_are_in_the_metrics_unit_and_keep_their_words(load: Load) -> None:
    more = "[{metric: sent_payload_bytes.update, at_most: 50 MB}, {metric: round_s_p95, at_least: 1 s, at_most: 2 min}]"
    first, second = make_plan(load(f"expect: {more}\n")).expectations
    assert (first.at_most, first.at_least, first.text) == (5e7, None, "sent_payload_bytes.update at most 50 MB")
    assert (second.at_least, second.at_most) == (1.0, 120.0)


def test_the_resolved_text_is_yaml_that_names_no_preset(load: Load) -> None:
    data = yaml.safe_load(dump_resolved(load("coordinator: none\n")))
    assert data["devices"][0]["link"]["up"]["rate"] == "20 Mbit/s"
    assert data["devices"][1]["profile"]["radio"]["name"] == "lte"
    assert data["coordinator"] == "none"
    assert data["learning"]["algorithm"]["rejoin_after"] == "0.5 s"


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**12)
    | st.floats(-9, 9)
    | st.sampled_from(["", "5 s", "30 %", "none", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)


def places(data: Any, path: DataPath = ()) -> Iterator[DataPath]:
    """Every path of the data."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_anything_anywhere_is_a_scenario_or_problems_and_never_another_error(data: st.DataObject) -> None:
    document = read_yaml(GOLDEN.parent / "plans" / "mixed.yaml")
    written = Written(document, {**document.data, "compare": {"algorithm": ["fedavg"], "seeds": 2}, "coordinator": {}})
    for _ in range(data.draw(st.integers(1, 2))):
        written = written.with_value(data.draw(st.sampled_from(list(places(written.data)))), data.draw(ANYTHING))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "any.yaml"
        path.write_text(json.dumps(written.data))
        try:
            scenario = load_scenario(path)
        except ScenarioError as error:
            assert all(problem.line == 1 and problem.text for problem in error.problems)
        else:
            assert all(make_plan(variant.scenario).links for variant in expand(scenario))


def test_a_broken_preset_of_ones_own_is_told_where_it_is_used(load: Load, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "mine.yaml").write_text("name: mine\nsource: me\nquality: god\nrate: 5 Mbps\n")
    told = problems(load, base=BASE.replace("link: lte", "link: mine"))
    assert "devices.1.link: link preset mine has mistakes: " in told
    assert "mine.yaml:3:10: quality: unknown word (found 'god')" in told
    assert "mine.yaml:4:7: rate: 'Mbps' is not a unit here" in told
