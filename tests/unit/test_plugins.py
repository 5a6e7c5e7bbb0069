"""Files of one's own: what is one, what is not and why, how its copies travel, and where its mistakes are told."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from node_image import plugins, registry
from node_image.plugins import PluginError, find_mistake, loaded
from node_image.progress import Progress
from node_image.runtime import Message
from orchestrator.meddling import garbage

ROOT = Path(__file__).parents[2]
HEAD = """from dataclasses import dataclass
from node_image.parameters import parameter

@dataclass(frozen=True)
class Parameters:
    steps: int = parameter(3, "how many", minimum=1)

"""
ALGORITHM = f"""{HEAD}async def device(node, params):
    await node.sleep(1.0 / (params.steps - 3))

async def coordinator(node, params):
    pass
"""
MODEL = f"{HEAD}def build(params, shape, classes):\n    return None\n"
RULE = HEAD + "".join(f"def {name}(*arguments): ...\n" for name in ("adapt", "begin", "cost"))


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_is_known_by_its_name_while_it_is_loaded_and_forgotten_after(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.py", ALGORITHM)
    with loaded([path]) as (plugin,):
        assert (plugin.kind, plugin.name) == ("algorithm", "mine")
        assert "mine" in registry.known("algorithm")
        assert registry.parameters("algorithm", "mine")["steps"].default == 3
    assert "mine" not in registry.known("algorithm")
    with loaded([path]):
        assert "mine" in registry.known("algorithm")


def test_the_kind_of_a_file_is_told_by_its_functions(tmp_path: Path) -> None:
    with loaded([written(tmp_path, "my_model.py", MODEL)]) as (plugin,):
        assert plugin.kind == "model"
    selection = f"{HEAD}def begin(params, network, rng, trial): ...\n"
    with loaded([written(tmp_path, "my_choice.py", selection)]) as (plugin,):
        assert plugin.kind == "selection"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("mine.py", "x = 1\n", "mine.py:1: has none of the functions of a plug-in"),
        ("mine.py", "import nonsense_module\n", "mine.py:1: in the file: ModuleNotFoundError"),
        ("mine.py", "x = 1\ndef f(:\n", "mine.py:2: in the file: SyntaxError"),
        ("mine.py", f"{HEAD}async def device(node, params): ...\n", "an algorithm, but lacks coordinator"),
        (
            "mine.py",
            ALGORITHM.replace("async def device", "def device").replace("await ", ""),
            "mine.py:8: device must be",
        ),
        (
            "mine.py",
            ALGORITHM.replace("device(node, params)", "device(node)"),
            "mine.py:8: device must take (node, params)",
        ),
        ("mine.py", MODEL.replace("frozen=True", ""), "mine.py:5: Parameters must be a frozen dataclass"),
        ("mine.py", MODEL.replace('parameter(3, "how many", minimum=1)', "3"), "must be written as"),
        ("mine.py", MODEL.replace("minimum=1", "minimum=5"), "the default of steps must be at least 5"),
        ("mine.py", MODEL.replace("steps:", "steps_s:"), 'has unit="s"'),
        ("mine.py", RULE, "need batch_size and shuffle"),
        ("fedavg.py", ALGORITHM, "'fedavg' is the name of a built-in algorithm"),
        ("My-File.py", ALGORITHM, "must be called like mine.py"),
    ],
)
def test_what_is_no_plug_in_is_refused_with_its_line_and_leaves_nothing_behind(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, name, text)
    for _ in range(2):  # the second time says the same: the first left nothing
        with pytest.raises(PluginError) as refused, loaded([path]):
            pass
        assert said in str(refused.value)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [written(tmp_path, "mine.py", ALGORITHM), written(tmp_path / "other", "mine.py", MODEL)]
    with pytest.raises(PluginError, match="another plug-in called 'mine'"), loaded(paths):
        pass
    assert "mine" not in registry.known("algorithm")


def test_a_copy_is_loaded_by_its_hash_and_refused_with_another(tmp_path: Path) -> None:
    with loaded([written(tmp_path, "mine.py", ALGORITHM)]) as found:
        plugins.write_copies(found, tmp_path)
        assert plugins.same_copies(found, tmp_path)
        assert not plugins.same_copies((), tmp_path)
    (tmp_path / "mine.py").unlink()
    plugins.load_copies(tmp_path / "plugins.json")
    assert "mine" in registry.known("algorithm")
    plugins.unload(found[0])
    with (tmp_path / "plugins" / "mine.py").open("a") as file:
        file.write("\n# changed\n")
    with pytest.raises(PluginError, match="is not the plug-in that the run was planned with"):
        plugins.load_copies(tmp_path / "plugins.json")


def test_a_run_without_plug_ins_writes_nothing_of_them(tmp_path: Path) -> None:
    plugins.write_copies((), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert plugins.same_copies((), tmp_path)


def test_a_mistake_is_found_at_its_own_line_through_groups_and_causes(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.py", ALGORITHM)
    with loaded([path]):
        algorithm = registry.ALGORITHMS["mine"]
        try:
            algorithm.device(Mock(), algorithm.Parameters()).send(None)
        except ZeroDivisionError as error:
            inner = error
        outer = RuntimeError("the node could not be made")
        outer.__cause__ = ExceptionGroup("tasks", [ValueError("another"), inner])
        for each in (inner, outer):
            mistake = find_mistake(each)
            assert mistake is not None
            assert (mistake.file, mistake.line, mistake.function) == (str(path), 9, "device")
            assert mistake.error == "ZeroDivisionError: float division by zero"
            assert "await node.sleep" in mistake.code
    assert find_mistake(ValueError("ours")) is None


def test_how_far_a_node_has_come_is_told_by_its_own_count_or_else_by_the_last_message() -> None:
    progress = Progress()
    assert str(progress) == ""
    progress.received(None)
    progress.received(Message("c", "model", {"base": 6, "model": np.ones(2, np.float32)}, 8))
    assert str(progress) == "version 6"
    progress.recorded("local_phase_s", 0.5)
    progress.received(Message("c", "model", {"round": "garbage"}, 8))
    assert str(progress) == "version 6, after 1 local phase"
    progress.received(Message("c", "model", {"round": 7}, 8))
    progress.recorded("local_phase_s", 0.5)
    assert str(progress) == "round 7, after 2 local phases"
    progress.recorded("version", 9.0)
    assert str(progress) == "version 9, after 2 local phases"


def test_garbage_breaks_every_value_of_a_message() -> None:
    model = np.ones(4, np.float32)
    found = list(garbage(Message("update", "d-1", {"n": 3, "model": model}, 64)))
    assert {each.kind for each in found} == {"nonsense", "update"}
    assert {} in [each.body for each in found]
    assert any(each.body.get("n") == "nonsense" for each in found)
    assert {np.shape(each.body["model"]) for each in found if "model" in each.body} >= {(3,), (4,)}
    assert model.tolist() == [1.0] * 4, "the true message stays as it is"


def test_the_example_is_short() -> None:
    assert len((ROOT / "docs" / "examples" / "my_fedprox.py").read_text().splitlines()) < 40
