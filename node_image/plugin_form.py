"""What a file must have to be a plug-in of its kind, and what is wrong where it has not, with the line."""

import ast
import inspect
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from node_image.parameters import REQUIRED, describe

if TYPE_CHECKING:
    from node_image.registry import Kind

# The functions of each kind with their arguments; a rule comes before a selection, which has `begin` alone.
FUNCTIONS: Mapping["Kind", Mapping[str, tuple[str, ...]]] = {
    "algorithm": {"device": ("node", "params"), "coordinator": ("node", "params")},
    "rule": {
        "adapt": ("params", "module", "shape", "classes"),
        "begin": ("params", "network", "constraint"),
        "cost": ("params", "network", "constraint", "samples", "steps"),
    },
    "model": {"build": ("params", "shape", "classes")},
    "task": {"load": ("params", "data_seed", "data_dir")},
    "selection": {"begin": ("params", "network", "rng", "trial")},
}
OF_A_RULE = ("batch_size", "shuffle")  # the learner reads them


def problem_of(module: ModuleType, tree: ast.Module) -> tuple["Kind | None", str]:
    """The kind of a file, and what is wrong with it as `line: text` (empty: nothing). `tree` is the file, parsed."""
    kind = _kind_of(module)
    if kind is None:
        known = "; ".join(f"{each}: Parameters, {', '.join(functions)}" for each, functions in FUNCTIONS.items())
        return None, f"1: has none of the functions of a plug-in. What each kind needs: {known}"
    missing = [name for name in ("Parameters", *FUNCTIONS[kind]) if not callable(getattr(module, name, None))]
    if missing:
        return kind, f"1: looks like {_a(kind)}, but lacks {', '.join(missing)}"
    for name, arguments in FUNCTIONS[kind].items():
        function = getattr(module, name)
        if not _takes(function, len(arguments)):
            return kind, f"{_line_of(tree, name)}: {name} must take ({', '.join(arguments)})"
        if kind == "algorithm" and not inspect.iscoroutinefunction(function):
            return kind, f"{_line_of(tree, name)}: {name} must be a coroutine: write `async def {name}(node, params)`"
    if problem := _problem_of_parameters(module.Parameters, kind):
        return kind, f"{_line_of(tree, 'Parameters')}: {problem}"
    return kind, ""


def _kind_of(module: ModuleType) -> "Kind | None":
    """The kind whose functions the file has the largest part of; of equals the first."""
    shares = {
        kind: sum(callable(getattr(module, name, None)) for name in functions) / len(functions)
        for kind, functions in FUNCTIONS.items()
    }
    if shares["rule"] > 1 / len(FUNCTIONS["rule"]):  # more than the `begin` that a selection has too
        shares["selection"] = 0.0
    best = max(shares, key=lambda kind: shares[kind])
    return best if shares[best] > 0 else None


def _takes(function: object, arguments: int) -> bool:
    try:
        inspect.signature(function).bind(*range(arguments))  # type: ignore[arg-type]  # anything that can be called
    except TypeError:
        return False
    return True


def _problem_of_parameters(parameters: type, kind: "Kind") -> str:
    made = getattr(parameters, "__dataclass_params__", None)
    if not is_dataclass(parameters) or made is None or not made.frozen:
        return "Parameters must be a frozen dataclass: write @dataclass(frozen=True) above it"
    try:
        specs = describe(parameters)
    except (TypeError, KeyError, NameError):
        return 'each field of Parameters must be written as `steps: int = parameter(10, "what it is", minimum=1)`'
    for name, spec in specs.items():
        if spec.type not in (int, float, str, bool):
            return f"{name} of Parameters must be an int, a float, a str or a bool"
        if spec.default is not REQUIRED and (problem := spec.problem(spec.default)):
            return f"the default of {name} {problem}"
        if name.endswith("_s") != (spec.unit == "s"):
            return f'{name} of Parameters: a time is called like pause_s and has unit="s", nothing else does'
    if kind == "rule" and (missing := [name for name in OF_A_RULE if name not in specs]):
        return f"a rule's Parameters need {' and '.join(missing)}, which the learner reads"
    return ""


def _line_of(tree: ast.Module, name: str) -> int:
    """The line on which the file defines a name; 1 where it does not do so itself."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
            return node.lineno
        if isinstance(node, ast.Assign) and name in {ast.unparse(target) for target in node.targets}:
            return node.lineno
    return 1


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "algorithm" else f"a {kind}"
