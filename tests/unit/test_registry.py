"""Plug-ins by name, and their parameters."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from node_image import registry
from node_image.parameters import REQUIRED, describe, parameter, read
from node_image.registry import Kind

KINDS: tuple[Kind, ...] = ("algorithm", "drift", "meter", "model", "partition", "rule", "selection", "task")
PLUGINS = [(kind, name) for kind in KINDS for name in registry.known(kind)]


@dataclass(frozen=True)
class Example:
    size: int = parameter(REQUIRED, "how many", minimum=1)
    share: float = parameter(0.5, "which part", unit="ratio", minimum=0.0, maximum=1.0)
    shape: str = parameter("round", "which form", choices=("round", "square"))
    loud: bool = parameter(False, "whether it sounds")


def test_importing_the_registry_loads_neither_torch_nor_scikit_learn() -> None:
    code = "import sys, node_image.registry; print({'torch', 'sklearn', 'scipy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.strip() == "set()"


def test_names_are_sorted_and_those_of_the_first_issue_are_there() -> None:
    for kind in KINDS:
        assert list(registry.known(kind)) == sorted(registry.known(kind))
    assert {"local_only", "centralized", "fedavg", "fedasync"} <= set(registry.known("algorithm"))
    assert {"digits", "moving_digits", "mnist", "cifar10", "sp_sw_har", "utd_mhad"} <= set(registry.known("task"))
    assert {"iid", "dirichlet", "pathological", "natural", "quantity_skew"} <= set(registry.known("partition"))


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        registry.parameters("model", "nonsense")


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_every_parameter_says_what_it_is_and_has_a_default_that_it_allows(kind: Kind, name: str) -> None:
    for spec in registry.parameters(kind, name).values():
        assert spec.about
        assert spec.unit in ("", "s", "bytes", "per_s", "ratio", "px", "W")
        assert spec.name.endswith("_s") == (spec.unit == "s")
        assert spec.default is REQUIRED or spec.problem(spec.default) is None


def test_parameters_are_read_into_their_own_frozen_type() -> None:
    example = read(Example, {"size": 3, "share": 1, "loud": True})
    assert example == Example(size=3, share=1.0, shape="round", loud=True)
    assert isinstance(example.share, float)
    with pytest.raises(FrozenInstanceError):
        example.size = 4  # type: ignore[misc]  # that it cannot be set is the point


def test_all_mistakes_in_parameters_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="siez: unknown parameter") as told:
        read(Example, {"siez": 3, "share": 1.5, "shape": "flat", "loud": 1})
    assert "size: is required (how many)" in str(told.value)
    assert "share: must be at most 1 (found 1.5)" in str(told.value)
    assert "shape: unknown 'flat'; known: round, square" in str(told.value)
    assert "loud: must be true or false (found 1)" in str(told.value)


@pytest.mark.parametrize("value", [True, "3", 3.0, None, 0, float("nan")])
def test_a_whole_number_is_nothing_else(value: object) -> None:
    assert describe(Example)["size"].problem(value) is not None


@pytest.mark.parametrize("value", [True, "1", float("nan"), -0.1])
def test_a_number_with_bounds_is_neither_a_word_nor_nan(value: object) -> None:
    assert describe(Example)["share"].problem(value) is not None


@pytest.mark.parametrize("kind", ["algorithm", "model", "rule", "task"])
def test_what_can_be_chosen_is_in_the_documentation(kind: registry.Kind) -> None:
    text = (Path(__file__).parents[2] / "docs" / "learning.md").read_text(encoding="utf-8")
    assert [name for name in registry.known(kind) if f"`{name}`" not in text] == []


def test_every_papers_comparison_has_its_place_in_the_document() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "papers.md").read_text(encoding="utf-8")
    names = [path.stem for path in (root / "scenarios" / "papers").glob("*.yaml")]
    assert names
    assert [name for name in names if f"<!-- runs: {name} -->" not in text] == []
