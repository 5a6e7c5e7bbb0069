"""Grafana in a container beside our Prometheus, by observability/compose.yaml, where Docker can have its image."""

from pathlib import Path

from orchestrator.command import run as run_command

FILE = Path(__file__).parents[2] / "observability" / "compose.yaml"
URL = "http://127.0.0.1:3000"
PULL_WITHIN_S = 300.0
DOWN_WITHIN_S = 60.0
NO_COMPOSE = "Run 'docker --help'"  # the last line of a docker that does not know the word


def up(folder: Path, prometheus_port: int) -> tuple[bool, str]:
    """Start it; whether it did, and one line for the user. Never an error: Prometheus is of use without it."""
    _settings(folder).write_text(f"EDGEBED_PROMETHEUS_URL=http://127.0.0.1:{prometheus_port}\n", encoding="utf-8")
    ran = run_command((*_compose(folder), "up", "--detach", "--wait", "grafana"), PULL_WITHIN_S)
    if ran.returncode == 0:
        return True, f"{URL}/d/edgebed-overview"
    said = ran.output.splitlines() or [f"docker ended with {ran.returncode}"]
    why = said[0] if said[0].startswith("docker:") else said[-1]  # docker's own word, or the pull's last
    if NO_COMPOSE in said[-1]:
        why = "this docker has no `compose`: install docker-compose-v2 or docker-compose-plugin"
    return False, f"not started ({why}); for a Grafana of your own: edgebed grafana push --url URL --token-file FILE"


def down(folder: Path) -> None:
    """Stop and remove it; its dashboards are in the repository, so nothing is lost."""
    run_command((*_compose(folder), "down"), DOWN_WITHIN_S)


def _settings(folder: Path) -> Path:
    return folder / "compose.env"


def _compose(folder: Path) -> tuple[str, ...]:
    return ("docker", "compose", "--env-file", str(_settings(folder)), "--file", str(FILE))
