"""What mutants are put into: short runs in virtual time, with faults that a mutant might spoil, and tests."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.outcome import Outcome, RunOptions
from orchestrator.plan import make_plan
from orchestrator.run import execute
from orchestrator.scenario import load_scenario
from orchestrator.terminal import QuietDisplay
from orchestrator.verify.fuzzing import false_ones
from tests.contract import (
    test_byzantine,
    test_connections_lost,
    test_coordinator_twice,
    test_process_faults,
    test_thermal,
)
from tests.unit import test_limits, test_schedule, test_wrong_things

HEAD = """name: stage
seed: 3
stop_after: {stop_after}
devices:
  - {{group: pi, count: 4, profile: {{base: raspberry_pi_4, radio: lte}}, phase_every: 150 ms, link: {link}}}
{network}learning:
  task: {{name: digits, partition: {{kind: iid}}}}
  model: {{name: mlp, hidden: 16}}
  rule: {{name: backprop, learning_rate: 0.1, batch_size: 16}}
  algorithm: {algorithm}
"""
LOSSY = "{rate: 500 kbit/s, delay: 5 ms, loss: 2 %, duplicate: 2 %}"
CLEAN = "{rate: 5 Mbit/s, delay: 5 ms}"
ALL_KINDS = """faults:
  - {kind: crash, at: 1 s, for: 1 s, nodes: [pi-1]}
  - {kind: pause, at: 1.2 s, for: 1 s, nodes: [pi-2]}
  - {kind: straggler, at: 2.5 s, for: 1.5 s, nodes: [pi-3], speed: 2 %}
  - {kind: partition, at: 3 s, for: 1.5 s, nodes: [pi-4]}
  - {kind: disconnect, at: 4 s, for: 1.5 s, nodes: [pi-1]}
  - {kind: degrade, at: 4.5 s, for: 1 s, nodes: [pi-2], rate_share: 50 %}
"""
MACHINES = """faults:
  - {kind: stop, at: 1 s, for: 500 ms, nodes: [pi-1], grace: 2 s}
  - {kind: disk, at: 1 s, for: 1 s, nodes: [coordinator], mode: full}
  - {kind: disk, at: 2.2 s, for: 1 s, nodes: [coordinator], mode: slow, rate: 40 kB}
  - {kind: disk, at: 4.5 s, for: 300 ms, nodes: [coordinator], mode: torn}
  - {kind: clock, at: 1.2 s, for: 2 s, nodes: [pi-2], skew: 300 ms, drift: 1 %}
  - {kind: reset, at: 3.5 s, for: 500 ms, nodes: [pi-3]}
  - {kind: slow_close, at: 3.6 s, for: 500 ms, nodes: [pi-4]}
"""
CRASHES = """faults:
  - {kind: coordinator_crash, at: 2 s, for: 300 ms, repeat: {every: 1500 ms, times: 3}}
"""
DEVICES = """faults:
  - {kind: byzantine, at: 1 s, for: 1 s, nodes: [pi-1], send: sign_flip}
  - {kind: battery, at: 1 s, for: 6 s, nodes: [pi-2], capacity: 8 J, recharge: 1 s}
  - {kind: metrics_down, at: 2 s, for: 1 s, nodes: [pi-3]}
  - {kind: coordinator_twice, at: 5 s, for: 2 s, takeover: 700 ms}
"""


@dataclass(frozen=True)
class Stage:
    """A run, written as a scenario, that judges itself."""

    algorithm: str
    link: str = LOSSY
    network: str = "topology: {kind: star}\n"
    faults: str = ALL_KINDS
    stop_after: str = "8 s"

    def run(self, folder: Path) -> Outcome:
        path = folder / "stage.yaml"
        text = (
            HEAD.format(link=self.link, network=self.network, algorithm=self.algorithm, stop_after=self.stop_after)
            + self.faults
        )
        path.write_text(text)
        options = RunOptions(folder / "run", substrate="simulation", keep="never")
        return execute(make_plan(load_scenario(path)), text, options, QuietDisplay())

    def noticed(self, folder: Path) -> list[str]:
        """What the run says against itself."""
        outcome = self.run(folder)
        return false_ones(outcome.directory) or list(outcome.notes) * (outcome.status != "complete")


@dataclass(frozen=True)
class Proof:
    """A test of the gate, of what a run alone cannot know: it must fail."""

    test: Callable[[Path], None]

    def noticed(self, folder: Path) -> list[str]:
        """Why it fails. A mutant that does not fit where it was put is no finding."""
        try:
            self.test(folder)
        except (TypeError, AttributeError, NameError):
            raise
        except Exception as why:
            return [f"{type(why).__name__}: {why}"]
        return []


RING = "coordinator: none\ntopology: {kind: ring}\n"
STAGES = {
    "fedasync": Stage(
        "{name: fedasync, local_steps: 2, evaluate_every: 2 s, checkpoint_every: 3, rejoin_after: 500 ms}"
    ),
    "fedavg": Stage("{name: fedavg, local_steps: 2, deadline: 500 ms, rejoin_after: 500 ms}"),
    "fedbuff, crashes": Stage(
        "{name: fedbuff, local_steps: 2, buffer: 3, checkpoint_every: 4, rejoin_after: 500 ms}", CLEAN, faults=CRASHES
    ),
    "fedavg, devices": Stage(
        "{name: fedavg, local_steps: 2, deadline: 500 ms, rejoin_after: 500 ms}",
        CLEAN,
        faults=DEVICES,
        stop_after="9 s",
    ),
    "fedavg, machines": Stage(
        "{name: fedavg, local_steps: 2, deadline: 500 ms, rejoin_after: 500 ms}",
        CLEAN,
        faults=MACHINES,
        stop_after="6 s",
    ),
    "dsgd": Stage("{name: dsgd, local_steps: 2, deadline: 1 s}", CLEAN, RING, faults="", stop_after="4 s"),
}
PROOFS = {
    "connections that end": Proof(
        lambda folder: test_connections_lost.test_connections_that_are_reset_end_at_both_ends_and_are_made_again(
            "d-1", "simulation", folder
        )
    ),
    "a torn checkpoint": Proof(
        lambda folder: (
            test_process_faults.test_a_torn_checkpoint_is_told_and_the_one_before_it_is_where_the_node_goes_on(
                "simulation", folder
            )
        )
    ),
    "a device that gets hot": Proof(
        lambda folder: test_thermal.test_a_device_that_computes_gets_hot_and_slow_and_cools_down("simulation", folder)
    ),
    "a device that cools": Proof(test_thermal.test_a_throttled_device_cools_and_goes_on_at_full_speed),
    "a device that lies": Proof(
        lambda folder: test_byzantine.test_every_algorithm_goes_on_among_lies("fedavg", "sign_flip", folder)
    ),
    "two coordinators": Proof(
        lambda folder: test_coordinator_twice.test_only_the_second_of_two_coordinators_acts("simulation", folder)
    ),
    "two limits": Proof(lambda _: test_schedule.test_of_two_limits_the_tightest_holds_and_the_last_to_go_lifts_it()),
    "want of memory": Proof(lambda _: test_limits.test_who_ended_for_want_is_started_again_unless_the_run_is_over(8.0)),
    "limits of a new life": Proof(lambda _: test_limits.test_a_new_life_is_held_to_what_is_in_force()),
    "what explains an end": Proof(
        lambda _: test_limits.test_only_a_limit_in_force_explains_an_end_and_memory_only_a_kill()
    ),
    "open files": Proof(
        test_wrong_things.test_the_kernel_refuses_what_is_beyond_a_limit_and_grants_it_again_when_that_is_lifted
    ),
}
