"""A plug-in of a user's for tests of places that it is brought to: it learns, and on one device it has a mistake."""

from pathlib import Path

from tests.contract.worlds import Ran

TEMPLATE = Path(__file__).parents[1] / "orchestrator" / "templates" / "algorithm.py"
BEFORE = "        if await local_phase(node, params.local_steps, start=model):"
MISTAKE = "        assert node.name != 'd-1' or node.now() < 2.0, 'as told'\n"


def write(folder: Path) -> Path:
    """The template, with a mistake that device d-1 makes after two seconds."""
    path = folder / "own.py"
    text = TEMPLATE.read_text().replace("MINE", "own")
    assert BEFORE in text
    path.write_text(text.replace(BEFORE, MISTAKE + BEFORE))
    return path


def check(ran: Ran, path: Path) -> None:
    """It ran where the nodes are, and its mistake came back with its line, node, time and phase."""
    line = 1 + path.read_text().splitlines().index(MISTAKE.rstrip())
    (ended,) = [event for event in ran.events("node_exited") if not event["asked"]]
    assert ended["node"] == "d-1"
    assert ended["last_words"].startswith(f"{path}:{line}: in device, ")
    assert "s into the run, after " in ended["last_words"]
    assert "AssertionError: as told" in ended["last_words"]
    assert "Traceback" not in ended["last_words"]
    assert ran.records("d-2", "local_phase_s")[-1]["t"] > ended["t"], "the other device goes on"
    assert ran.outcome.summary["test_accuracy"] is not None
    assert ran.outcome.summary["test_accuracy"] > 0.5
