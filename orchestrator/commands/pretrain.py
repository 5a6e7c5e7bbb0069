"""`edgebed pretrain`: train a scenario's model on other classes of its data set, and keep its weights in a file."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator import quantities
from orchestrator.commands.find import find_scenario
from orchestrator.commands.options import (
    data_option,
    json_option,
    option,
    overrides,
    plugin_option,
    scenario_argument,
    seed_option,
    set_option,
)
from orchestrator.commands.plan import plan_all
from orchestrator.errors import RunBrokeError, UsageError

if TYPE_CHECKING:
    from node_image.learner import Learner
    from node_image.plugins import Plugin
    from node_image.spec import NodeSpec

CLASSES = re.compile(r"(\d+)(?:-(\d+))?")  # 3, or 0-4


@click.command()
@scenario_argument
@option("--classes", metavar="0-4,7", help="Classes to learn. [default: those that the scenario's task leaves out]")
@option("--epochs", type=click.IntRange(min=1), default=10, show_default=True, help="Passes over their samples.")
@option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The safetensors file to write.")
@set_option
@seed_option
@data_option
@plugin_option
@json_option
def pretrain(
    scenario: str,
    classes: str | None,
    epochs: int,
    out: Path,
    assignments: tuple[str, ...],
    seed: int | None,
    data_dir: Path | None,
    plugins: "tuple[Plugin, ...]",
    as_json: bool,
) -> int:
    """Make initial weights for a scenario.

    Trains the model of SCENARIO in one place, with its rule, on other classes of the same data set (`--classes`), and
    writes its weights to a file that the scenario can name: `learning: {initial: FILE}`. The head is left out unless
    the classes are the scenario's own. Where the scenario compares, its first variant is taken.
    """
    from orchestrator.plan import with_data_dir

    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    # The scenario may name the very file that is to be made.
    changes = (*overrides(assignments, seed=seed), "learning.initial=null")
    planned = with_data_dir(
        plan_all(find_scenario(scenario), changes)[0].plan, None if data_dir is None else str(data_dir)
    )
    spec = planned.nodes[0].spec
    chosen = _left_out(spec) if classes is None else _read_classes(classes)
    learner = _learner(spec, chosen)
    accuracy = 0.0
    for epoch, loss, accuracy in _epochs(learner, epochs, spec.seed):
        text = f"epoch {epoch} of {epochs}: loss {loss:.3f}, test accuracy {quantities.percent(accuracy)}"
        click.echo(text, err=True)
    names = _write(learner, out, with_head=chosen == spec.task.classes)
    if as_json:
        result = {"schema_version": 1, "file": str(out), "classes": list(chosen), "epochs": epochs}
        click.echo(json.dumps({**result, "test_accuracy": accuracy, "tensors": names}, indent=1))
    else:
        told = f"{len(names)} tensors, test accuracy {quantities.percent(accuracy)} on {len(chosen)} classes"
        click.echo(f"{out}: {told}")
    return 0


def _read_classes(text: str) -> tuple[int, ...]:
    """`0-4,7` as class numbers in that order."""
    found: list[int] = []
    for item in text.split(","):
        match = CLASSES.fullmatch(item.strip())
        if match is None:
            raise UsageError(f"--classes {text}: write class numbers and ranges, such as 0-4,7 (found {item!r})")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    if len(set(found)) < len(found) or len(found) < 2:
        raise UsageError(f"--classes {text}: must be two or more different classes")
    return tuple(found)


def _left_out(spec: "NodeSpec") -> tuple[int, ...]:
    """The classes of the data set that the scenario's task does not have."""
    learner = _learner(spec, ())
    found = tuple(sorted(set(range(learner.task.classes)) - set(spec.task.classes or range(learner.task.classes))))
    if len(found) < 2:
        raise UsageError("the scenario's task leaves out no two classes to learn from: name some with --classes")
    return found


def _learner(spec: "NodeSpec", classes: tuple[int, ...]) -> "Learner":
    """A device that holds all training samples of these classes (none named: of all)."""
    from node_image.data.folder import DataNotFoundError
    from node_image.learner import build
    from node_image.spec import Chosen, TaskSpec

    whole = TaskSpec(
        spec.task.name, spec.task.parameters, Chosen("in_order"), None, spec.task.data_dir, classes=classes
    )
    alone = replace(spec, role="device", index=0, devices=1, task=whole, selection=Chosen("everything"))
    try:
        return build(alone)
    except (DataNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error


def _epochs(learner: "Learner", epochs: int, seed: int) -> Iterator[tuple[int, float, float]]:
    """Train; for each pass its number from 1, the mean training loss and the test accuracy after it."""
    import numpy as np

    from node_image.outcomes import DivergedError

    rng = np.random.default_rng(seed)
    for epoch in range(1, epochs + 1):
        try:
            phase = learner.train(learner.epoch_steps(0.0), 0.0, rng)
        except DivergedError as error:
            raise RunBrokeError(f"epoch {epoch}: {error}") from error
        yield epoch, phase.loss, learner.evaluate().accuracy


def _write(learner: "Learner", out: Path, *, with_head: bool) -> list[str]:
    """Write the weights part by part and return the parts' names. A former file stays until the new one is whole."""
    from safetensors.numpy import save

    weights = learner.weights()
    parts = [part for part in learner.parts if with_head or part.start < learner.head_start]
    content = save({part.name: weights[part.start : part.end].reshape(part.shape) for part in parts})
    unfinished = out.with_name(f".{out.name}.unfinished")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(out)
    except OSError as error:
        raise RunBrokeError(f"--out {out}: cannot be written: {error.strerror}") from error
    return [part.name for part in parts]
