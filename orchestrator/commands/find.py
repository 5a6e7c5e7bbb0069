"""Find what a user names: a scenario by its name or path, a run by its name, path or `latest`."""

import difflib
from pathlib import Path

from orchestrator.errors import UsageError

RUNS = Path("runs")


def scenario_folder() -> Path:
    """The scenarios of the current directory, else those beside this source."""
    here = Path("scenarios")
    return here if here.is_dir() else Path(__file__).parents[2] / "scenarios"


def scenario_files() -> dict[str, Path]:
    """All scenarios by name."""
    return {path.stem: path for path in sorted(scenario_folder().glob("*.yaml"))}


def find_scenario(name: str) -> Path:
    """`dropout30` is a scenario of the folder; anything with a slash or `.yaml` is a path."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = Path(name)
        if path.is_file():
            return path
        raise UsageError(f"no scenario file {name}{_nearest(path.stem, list(scenario_files()))}")
    files = scenario_files()
    if name not in files:
        known = ", ".join(files) or "none"
        raise UsageError(f"no scenario {name!r} in {scenario_folder()}/{_nearest(name, list(files))}; known: {known}")
    return files[name]


def run_directories(folder: Path = RUNS) -> list[Path]:
    """The runs and comparisons in a folder, oldest first (their names begin with their start)."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_run(path) or is_comparison(path))


def is_run(path: Path) -> bool:
    """A run directory has a plan."""
    return (path / "plan.json").is_file()


def is_comparison(path: Path) -> bool:
    """A comparison holds run directories and `compare.json`."""
    return (path / "compare.json").is_file()


def find_run(name: str) -> Path:
    """A run by path, by its name in `runs/`, or the newest one for `latest`."""
    runs = run_directories()
    if name == "latest":
        if not runs:
            raise UsageError(f"no runs in {RUNS}/ yet; try: edgebed run smoke")
        return runs[-1]
    for path in (Path(name), RUNS / name):
        if is_run(path) or is_comparison(path):
            return path
    for path in (Path(name), RUNS / name):
        if left := [
            each for each in ("result.json", "events.jsonl", "records.jsonl", "nodes") if (path / each).exists()
        ]:
            raise UsageError(
                f"{path} holds what is left of a run ({', '.join(left)}), but no plan.json, which says what ran; "
                f"to see the rest: edgebed serve {path}"
            )
    names = [path.name for path in runs]
    raise UsageError(f"no run {name!r} (looked for {name}/plan.json, also in {RUNS}/){_nearest(name, names)}")


def find_single_run(name: str) -> Path:
    """The same, where a comparison will not do."""
    directory = find_run(name)
    if is_comparison(directory):
        inside = ", ".join(str(path.parent) for path in sorted(directory.glob("*/plan.json")))
        raise UsageError(f"{directory} is a comparison; name one of its runs: {inside or 'it has none'}")
    return directory


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
