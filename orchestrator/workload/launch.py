"""What an attendant is told, on the machine that runs it: where programs are found, where they live, what they see.

Of the environment of whoever runs Edgebed a program sees PATH and nothing else: no secret comes into a run that way.
"""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from node_image.workload.spec import Duty, NodeWorkload, Program
from orchestrator.plan import Plan, PlannedNode
from orchestrator.workload.words import finish

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".git", ".venv", "*.egg-info")
HOSTS = "hosts"  # in the run directory


def duty(plan: Plan, node: PlannedNode, folder: Path, directory: Path) -> Duty:
    """Everything decided, for a node that lives in `folder`; `directory` is that of the run."""
    assert plan.workload is not None and node.workload is not None, "asked for runs with a workload"
    values = {"folder": str(folder), "python": sys.executable}
    programs = tuple(_finished(each, values) for each in node.workload.programs)
    environment = {
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",  # nodes share cores: more threads than that make each other wait
        "PATH": search_path(plan),
        "PYTHONUNBUFFERED": "1",  # what a program prints is read as it prints it
        "TMPDIR": "/tmp",
    }
    declared = {metric.name: metric.kind for metric in plan.workload.metrics}
    return Duty(
        replace(node.workload, programs=programs),
        declared,
        environment,
        folder=str(folder),
        output=str(directory / "nodes" / node.name),
        hosts=str(directory / HOSTS),
    )


def hosts_text(plan: Plan) -> str:
    """The nodes' names, as /etc/hosts has them."""
    named = [("127.0.0.1", "localhost"), *((node.address, node.name) for node in plan.nodes)]
    return "".join(f"{address}\t{name}\n" for address, name in named)


def furnish(workload: NodeWorkload, folder: Path) -> None:
    """Copy the files of the workload into a node's folder; on its first life alone: it keeps what it has changed."""
    for name in workload.files:
        path = Path(name)
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=NOT_COPIED, dirs_exist_ok=True)
        else:
            shutil.copy2(path, folder / path.name)


def search_path(plan: Plan) -> str:
    """Where programs are looked for: the workload's own folders, then this machine's."""
    own = plan.workload.path if plan.workload is not None else ()
    return os.pathsep.join((*own, os.environ.get("PATH", ""), SYSTEM_PATH))


def missing_programs(plan: Plan) -> list[str]:
    """Programs that this machine does not have, one line each with its remedy."""
    path, found = search_path(plan), {}
    for node in plan.nodes:
        for program in node.workload.programs if node.workload is not None else ():
            if program.run[0] not in found:
                found[program.run[0]] = _lack(program, path)
    return [lack for lack in found.values() if lack]


def _lack(program: Program, path: str) -> str:
    first = program.run[0]
    if "{" in first:  # the Python that runs us, or something in a folder that is not there yet
        return ""
    if shutil.which(first, path=path) is not None:
        return ""
    return f"the workload's program {first} is not there" + (f": {program.install}" if program.install else "")


def _finished(program: Program, values: dict[str, str]) -> Program:
    ready = program.ready
    if ready is not None and ready.http is not None:
        ready = replace(ready, http=finish(ready.http, values))
    return replace(
        program,
        run=tuple(finish(each, values) for each in program.run),
        ready=ready,
        records=None if program.records is None else finish(program.records, values),
        environment={name: finish(value, values) for name, value in program.environment.items()},
    )
