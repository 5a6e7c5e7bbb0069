"""`edgebed new`: a commented file that runs as it is, and its test, to begin from."""

import re
from pathlib import Path

import click

from orchestrator.errors import UsageError

TEMPLATES = Path(__file__).parents[1] / "templates"
KINDS = ("algorithm", "rule", "model", "selection", "task", "scenario")
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
PLACEHOLDER = "MINE"


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
def new(kind: str, name: str) -> int:
    """Write a file of your own to begin from.

    NAME.py (of a scenario, NAME.yaml) and test_NAME.py, into the current folder. Both run as they are.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"NAME {name!r}: must be small letters, digits and _, such as mine")
    _refuse_built_in(kind, name)
    ending, test = (".yaml", "scenario_test.py") if kind == "scenario" else (".py", "plugin_test.py")
    texts = {f"{name}{ending}": TEMPLATES / f"{kind}{ending}", f"test_{name}.py": TEMPLATES / test}
    if there := [file for file in texts if Path(file).exists()]:
        raise UsageError(f"{', '.join(there)}: there already; nothing is overwritten, choose another name")
    for file, template in texts.items():
        Path(file).write_text(template.read_text(encoding="utf-8").replace(PLACEHOLDER, name), encoding="utf-8")
        click.echo(f"wrote {file}", err=True)
    try_it = f"edgebed run {name}.yaml" if kind == "scenario" else f"edgebed test-plugin {name}.py"
    click.echo(f"try: {try_it}    python -m pytest test_{name}.py", err=True)
    return 0


def _refuse_built_in(kind: str, name: str) -> None:
    from node_image import registry

    kinds: tuple[registry.Kind, ...] = ("algorithm", "rule", "model", "selection", "task")
    if any(kind == each and name in registry.known(each) for each in kinds):
        raise UsageError(f"NAME {name!r}: is the name of a built-in {kind}; choose another")
