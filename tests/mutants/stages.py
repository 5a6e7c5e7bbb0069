"""The runs that mutants are put into: short, in virtual time, with faults of the kinds that a mutant might spoil."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.outcome import Outcome, RunOptions
from orchestrator.plan import make_plan
from orchestrator.run import execute
from orchestrator.scenario import load_scenario
from orchestrator.terminal import QuietDisplay

HEAD = """name: stage
seed: 3
stop_after: 12 s
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
    """A run, written as a scenario."""

    algorithm: str
    link: str = LOSSY
    network: str = "topology: {kind: star}\n"
    faults: str = ALL_KINDS

    def run(self, folder: Path) -> Outcome:
        path = folder / "stage.yaml"
        text = HEAD.format(link=self.link, network=self.network, algorithm=self.algorithm) + self.faults
        path.write_text(text)
        options = RunOptions(folder / "run", substrate="simulation", keep="never")
        return execute(make_plan(load_scenario(path)), text, options, QuietDisplay())


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
        "{name: fedavg, local_steps: 2, deadline: 500 ms, rejoin_after: 500 ms}", CLEAN, faults=DEVICES
    ),
    "dsgd": Stage("{name: dsgd, local_steps: 2, deadline: 1 s}", CLEAN, RING, faults=""),
}
