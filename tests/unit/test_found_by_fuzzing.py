"""What fault fuzzing has found, as the smallest schedule that shows it; each was a defect once."""

from orchestrator.outcome import Outcome, RunOptions
from orchestrator.plan import Plan
from orchestrator.run import execute
from orchestrator.terminal import QuietDisplay
from orchestrator.verify.drawing import Drawn
from orchestrator.verify.fuzzing import problems

HEAD = """name: found
seed: 1
stop_after: 12 s
devices:
  - {group: pi, count: 3, profile: raspberry_pi_4, phase_every: 200 ms, link: {rate: 2 Mbit/s, delay: 10 ms}}
"""


def found_in(text: str, *faults: str) -> tuple[str, ...]:
    def run(plan: Plan, text: str, options: RunOptions) -> Outcome:
        return execute(plan, text, options, QuietDisplay())

    return problems(Drawn(0, HEAD + text, faults, ""), run, "simulation")


LEARNING = "learning:\n  task: digits\n  model: mlp\n  algorithm: "


def test_a_pause_after_a_crash_during_a_pause_freezes_again() -> None:
    """It counted as frozen already: the crash had let it go on, and nobody had noted that."""
    assert found_in(
        LEARNING + "{name: fedasync, local_steps: 3, rejoin_after: 500 ms}\n",
        "kind: pause, at: 1 s, nodes: [pi-1]",
        "kind: crash, at: 2 s, for: 500 ms, nodes: [pi-1]",
        "kind: pause, at: 4 s, for: 1 s, nodes: [pi-1]",
    ) == ()  # fmt: skip


def test_what_comes_while_a_node_is_frozen_in_its_handshake_is_read_when_it_goes_on() -> None:
    """The first message was taken for another end of the handshake, and was lost with the connection."""
    assert found_in(
        "coordinator: none\ntopology: {kind: ring}\n" + LEARNING + "{name: dsgd, local_steps: 3}\n",
        "kind: pause, at: 45 ms, for: 1 s, nodes: [pi-2]",
    ) == ()  # fmt: skip


def test_an_eclm_device_may_begin_a_new_life_after_its_update_was_taken_in() -> None:
    """The coordinator ended with a KeyError when it closed the round."""
    modular = "learning:\n  task: {name: digits, public: 100}\n  model: {name: modular, modules: 4}\n"
    slow = "  - {group: slow, count: 1, profile: raspberry_pi_4, phase_every: 3 s, link: {rate: 2 Mbit/s}}\n"
    assert found_in(
        slow + modular + "  algorithm: {name: eclm, offline_steps: 10, local_steps: 3, deadline: 4 s}\n",
        "kind: crash, at: 5 s, for: 200 ms, nodes: [pi-1]",
    ) == ()  # fmt: skip
