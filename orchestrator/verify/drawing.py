"""Scenarios drawn by a seed, to be run and verified: an algorithm, 4 to 12 devices, bad links, 3 to 10 faults.

Small on purpose: a run of a few virtual seconds takes a fraction of a real one. The same seed draws the same text.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from node_image.byzantine import WAYS

STOP_AFTER_S = 14
FIRST_S, LAST_S = 1.0, 6.0  # when faults begin that are drawn to begin at a time
SPELLS = "away.csv"
OF_COORDINATOR = {"coordinator_crash", "coordinator_twice"}

# How an algorithm is learned with: its own line, and the model, rule, task and topology that suit it.
MLP = "  model: {name: mlp, hidden: 16}\n  rule: {name: backprop, learning_rate: 0.1, batch_size: 16}\n"
DIGITS = "  task: {name: digits, partition: {kind: dirichlet, alpha: 1.0}}\n"
STAR = "topology: {kind: star}\n"
SLOW = "coordinator: {profile: {base: server, speed: {op_overhead: 10 ms}}}\n"  # it learns all the time
PEERS = "coordinator: none\ntopology: {kind: %s}\n"
SOON = "rejoin_after: 500 ms"
ALGORITHMS: dict[str, tuple[str, str, str, str]] = {
    "fedavg": (f"local_steps: 2, deadline: 1 s, {SOON}", MLP, DIGITS, STAR),
    "fedprox": (f"local_steps: 2, deadline: 1 s, {SOON}", MLP, DIGITS, STAR),
    "fedasync": (f"local_steps: 2, evaluate_every: 4 s, checkpoint_every: 3, {SOON}", MLP, DIGITS, STAR),
    "fedbuff": (f"local_steps: 2, buffer: 3, evaluate_every: 4 s, checkpoint_every: 2, {SOON}", MLP, DIGITS, STAR),
    "elabip": (
        "critical_exchanges: 1, critical_steps: 3, reply_within: 500 ms, evaluate_every: 4 s, rejoin_after: 500 ms",
        "  model: {name: softhebb1, filters: 8}\n  rule: {name: softhebb}\n",
        DIGITS,
        STAR,
    ),
    "eclm": (
        "offline_steps: 10, local_steps: 2, deadline: 1 s, evaluate_every: 4 s, rejoin_after: 500 ms",
        "  model: {name: modular, width: 16, hidden: 8, modules: 4, top_k: 2}\n"
        "  rule: {name: backprop, learning_rate: 0.1, batch_size: 16}\n",
        "  task: {name: digits, public: 100}\n",
        STAR,
    ),
    "centralized": (
        "chunk_samples: 8, resend_after: 500 ms, evaluate_every: 4 s",
        MLP,
        "  task: {name: digits, stream: 20 samples/s}\n",
        SLOW + STAR,
    ),
    "dsgd": ("local_steps: 2, deadline: 500 ms", MLP, DIGITS, PEERS % "ring"),
    "draco": ("local_steps: 2, evaluate_every: 4 s", MLP, DIGITS, PEERS % "ring"),
    "bilayer_gossip": (
        "local_steps: 2, clusters: 2, distance: data, pair_timeout: 500 ms, deadline: 500 ms",
        MLP,
        DIGITS,
        PEERS % "full",
    ),
}


@dataclass(frozen=True)
class Drawn:
    """A scenario that was drawn: all but the faults, one line a fault, and the absences that a `trace` reads."""

    seed: int
    head: str
    faults: tuple[str, ...]
    away: str

    @property
    def text(self) -> str:
        """As YAML."""
        return self.head + ("faults:\n" + "".join(f"  - {{{fault}}}\n" for fault in self.faults) if self.faults else "")

    def but(self, faults: tuple[str, ...]) -> "Drawn":
        """The same with other faults."""
        return replace(self, faults=faults)


def draw(seed: int) -> Drawn:
    """Draw one scenario."""
    chance = Random(seed)
    name = chance.choice(list(ALGORITHMS))
    parameters, learner, task, topology = ALGORITHMS[name]
    groups = _groups(chance)
    names = [f"{group}-{number}" for group, count in groups for number in range(1, count + 1)]
    devices = "".join(
        f"  - {{group: {group}, count: {count}, profile: raspberry_pi_4, phase_every: {chance.choice((400, 800))} ms, "
        f"link: {_link(chance)}}}\n"
        for group, count in groups
    )
    head = (
        f"name: fuzz\nseed: {seed}\nstop_after: {STOP_AFTER_S} s\ndevices:\n{devices}{topology}"
        f"learning:\n{task}{learner}  algorithm: {{name: {name}, {parameters}}}\n"
    )
    faults: list[str] = []
    for _ in range(chance.randint(3, 10)):
        kind = chance.choice([kind for kind in KINDS if kind not in OF_COORDINATOR or STAR in topology])
        parts = [f"kind: {kind}", *_when(chance, len(faults), kind, topology)]
        if kind not in OF_COORDINATOR:
            parts.append(_victims(chance, names, groups, kind))
        faults.append(", ".join(part for part in (*parts, KINDS[kind](chance)) if part))
    away = "".join(f"{name},{chance.uniform(1, 3):.2f},{chance.uniform(3.1, 5):.2f}\n" for name in names)
    return Drawn(seed, head, tuple(faults), away)


def _groups(chance: Random) -> list[tuple[str, int]]:
    count = chance.randint(4, 12)
    first = chance.randint(1, count - 1)
    return [("pi", first), ("nano", count - first)]


def _link(chance: Random) -> str:
    loss = chance.choice(("", "", ", loss: 1 %", ", burst_loss: {to_bad: 0.5 %, to_good: 30 %}", ", duplicate: 1 %"))
    jitter = chance.choice(("", ", jitter: 2 ms"))
    rate, delay = chance.choice((2, 10, 50)), chance.choice((1, 10, 40))
    return f"{{rate: {rate} Mbit/s, delay: {delay} ms{jitter}{loss}}}"


def _when(chance: Random, before: int, kind: str, topology: str) -> list[str]:
    """When it acts, in every way that a scenario can say it."""
    at = f"at: {chance.uniform(FIRST_S, LAST_S):.2f} s"
    for_ = f"for: {chance.uniform(0.3, 2.5):.2f} s"
    ways = [
        [at, for_],
        [at, for_],
        [at],  # to the end of the run
        [at, "for: 400 ms", f"repeat: {{every: 1500 ms, times: {chance.randint(2, 3)}}}"],
        [at, "for: 500 ms", "random: {process: bernoulli, every: 2 s, probability: 20 %}"],
        [at, "for: 600 ms", "random: {process: outage, every: 4 s, share: 50 %}"],
        ["random: {process: on_off, up: 5 s, down: 700 ms}"],
        ["random: {process: diurnal, period: 10 s, every: 2 s, least: 60 %}"],
        ["at: 1 s", f"trace: {SPELLS}"],
        [for_, f"when: {{metric: samples_seen, at_least: {chance.choice((200, 1000))}}}"],
    ]
    if before:
        ways.append([for_, f"when: {{after: {chance.randrange(before)}, plus: 300 ms}}"])
    if STAR in topology:
        ways.append([for_, f"when: {{updates: {chance.choice((5, 20))}}}"])
    if kind in OF_COORDINATOR:
        ways = [[at, for_], [at, "for: 400 ms", "repeat: {every: 1500 ms, times: 2}"]]
    return chance.choice(ways)


def _victims(chance: Random, names: list[str], groups: list[tuple[str, int]], kind: str) -> str:
    whom = chance.choice(
        (
            f"nodes: [{chance.choice(names)}]",
            f"share: {chance.choice((30, 50))} %",
            f"group: {chance.choice(groups)[0]}",
            "count: 2",
            "all: true",
        )
    )
    return "count: 1" if kind == "partition" and whom == "all: true" else whom


KINDS: dict[str, Callable[[Random], str]] = {
    "battery": lambda chance: f"capacity: {chance.choice((3, 8))} J, {chance.choice(('recharge: 1 s', 'charge: 4 W'))}",
    "byzantine": lambda chance: f"send: {chance.choice(WAYS)}",
    "clock": lambda chance: chance.choice(("skew: 200 ms", "drift: 500 ppm", "skew: 1 s, direction: behind")),
    "coordinator_crash": lambda _: "",
    "coordinator_twice": lambda _: "",
    "crash": lambda _: "",
    "degrade": lambda chance: chance.choice(
        ("rate_share: 10 %", "add_delay: 100 ms, add_jitter: 10 ms", "loss: 20 %", "corrupt: 5 %, duplicate: 5 %",
         "reorder: 10 %", "queue: 15 kB, rate: 500 kbit/s", "burst_loss: {to_bad: 5 %, to_good: 20 %}")
    ),
    "disconnect": lambda _: "",
    "disk": lambda chance: chance.choice(("mode: full", "mode: slow, rate: 20 kB", "mode: torn")),
    "dropout": lambda chance: f"by: {chance.choice(('crash', 'pause', 'disconnect'))}",
    "flap": lambda chance: chance.choice(("every: 500 ms, down: 200 ms", "every: 1 s, down: 900 ms")),
    "partition": lambda chance: f"direction: {chance.choice(('both', 'in', 'out'))}",
    "pause": lambda _: "",
    "stop": lambda _: "",
    "metrics_down": lambda _: "records: kept",  # of lost ones the run would say that it is degraded
    "reset": lambda _: "",
    "slow_close": lambda _: "",
    "thermal": lambda _: "threshold: 40 °C, rise: 50 °C, time_constant: 800 ms, speed: 30 %",
    "straggler": lambda chance: f"speed: {chance.choice((10, 50))} %",
}  # fmt: skip
