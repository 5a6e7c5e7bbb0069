"""Going on where a comparison was: which of its runs are there already, and what must not be lost.

A run is kept if it came to its end by the same plan, wherever its data lie, and the same plug-ins, byte for byte. What
was left of a run that was killed is removed, once what it made on this machine is gone. A run that ended by another
plan is somebody's result: nothing is touched before the user has said what is to become of it.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from node_image.plugins import same_copies
from orchestrator import journal
from orchestrator.errors import UsageError
from orchestrator.outcome import Outcome, RunOptions
from orchestrator.plan import Plan, plan_json

LOCK = ".lock"
LOCK_WITHIN_S = 30.0  # the processes of a sweep that was killed end within seconds
ENDED = ("complete", "degraded")
SHOWN = 3  # runs, and differences of one run, that a refusal names


class Resume(Enum):
    """What to do with the runs that are there already."""

    NOTHING = "nothing"  # there must be none
    KEEP = "keep"  # go on; refuse where one ended by another plan
    REDO = "redo"  # go on; runs that ended by another plan are made again


@contextmanager
def held(directory: Path) -> Iterator[int]:
    """Hold a comparison's folder against a second one that would write into it; made if it is not there.

    Yields the lock's file descriptor: processes that inherit it hold the folder too, for as long as they live. Raises
    UsageError where another one holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK).open("a", encoding="utf-8") as file:
        deadline = time.monotonic() + LOCK_WITHIN_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    text = f"{directory}: another sweep is running there; wait for it, or choose another --out"
                    raise UsageError(text) from None
                time.sleep(0.1)
        yield file.fileno()


def kept(plans: Mapping[str, Plan], options: RunOptions, resume: Resume) -> dict[str, Outcome]:
    """The outcomes that are there already, by folder name below `options.out`; remains of other runs are removed.

    Raises UsageError, before anything is removed, where runs are there that are not to be kept.
    """
    outcomes: dict[str, Outcome] = {}
    changed: dict[str, str] = {}
    remains: list[Path] = []
    there = {name: plan for name, plan in plans.items() if (options.out / name).exists()}
    if there and resume is Resume.NOTHING:
        raise UsageError(
            f"{options.out} holds {len(there)} of these {len(plans)} runs already. "
            "To go on with them: edgebed sweep with --resume; to begin anew: another --out"
        )
    for name, plan in there.items():
        folder = options.out / name
        outcome = _outcome(folder)
        if outcome is not None and outcome.status in ENDED:
            difference = _difference(folder, plan, options)
            if not difference:
                outcomes[name] = outcome
                continue
            changed[name] = difference
        remains.append(folder)
    if changed and resume is not Resume.REDO:
        told = "".join(f"\n- {name}: {text}" for name, text in list(changed.items())[:SHOWN])
        more = f"\n- and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise UsageError(
            f"{len(changed)} of the runs in {options.out} ended by other plans than these:{told}{more}\n"
            "To keep them, choose another --out for the new plans, or take the change back; "
            "to remove them and run them again by the new plans: --redo"
        )
    for folder in remains:
        remove(folder)
    return outcomes


def remove(folder: Path) -> None:
    """Remove what is left of a run, and first what it made on this machine and could not remove."""
    if folder.exists():
        journal.clean(folder)
        shutil.rmtree(folder)


def differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ, in words: `stop_after_s was 20.0 and is 30.0`."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*before, *now)):
            inner = f"{path}.{key}" if path else key
            if key not in now:
                yield f"{inner} is gone"
            elif key not in before:
                yield f"{inner} is new"
            else:
                yield from differences(before[key], now[key], inner)
    elif isinstance(before, list) and isinstance(now, list):
        if len(before) != len(now):
            yield f"{path} has {len(now)} and not {len(before)}"
        else:
            for index, (old, new) in enumerate(zip(before, now, strict=True)):
                yield from differences(old, new, f"{path}.{index}")
    elif before != now or type(before) is not type(now):
        yield f"{path} was {json.dumps(before)} and is {json.dumps(now)}"


def _outcome(folder: Path) -> Outcome | None:
    """What came of a run; None if it has no result that can be read."""
    try:
        return Outcome.from_json(json.loads((folder / "result.json").read_text(encoding="utf-8")), folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _difference(folder: Path, plan: Plan, options: RunOptions) -> str:
    """In what the run that is there was another one; empty if in nothing."""
    wanted = _wherever_its_data_lie(plan_json(plan))
    try:
        found = _wherever_its_data_lie((folder / "plan.json").read_text(encoding="utf-8"))
        if found != wanted:
            told = list(dict.fromkeys(differences(found, wanted)))
            return "; ".join(told[:SHOWN]) + (f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else "")
        return "" if same_copies(options.plugins, folder) else "a plug-in is another one"
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"its plan cannot be read: {error}"


def _wherever_its_data_lie(plan: str) -> Any:
    """A plan's JSON, without the folder that the data sets are in."""
    raw = json.loads(plan)
    for node in raw["nodes"]:
        del node["spec"]["task"]["data_dir"]
    return raw
