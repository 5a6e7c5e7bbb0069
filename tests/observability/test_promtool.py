"""Prometheus' own checks of what is checked in and of what is served."""

import shutil
import subprocess
from pathlib import Path

import pytest

from node_image.records import METRICS, Record
from orchestrator.receipt import Check
from orchestrator.telemetry.observe import CONFIGURATION, prepare
from orchestrator.telemetry.present import Present
from tests.plans import fault, star

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus")


def promtool(*arguments: str, text: str = "") -> str:
    ran = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_the_configuration_is_valid_where_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "1f.1.json").write_text('[{"targets": ["127.0.0.1:1"], "labels": {"run": "a"}}]')
    said = promtool("check", "config", str(prepare(tmp_path)))
    assert "WARNING" not in said


def test_the_rules_are_clean() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(CONFIGURATION / "rules.yml"))


def test_the_rules_do_what_their_tests_say() -> None:
    promtool("test", "rules", str(CONFIGURATION / "rules_test.yml"))


def test_every_rule_has_a_test() -> None:
    rules = (CONFIGURATION / "rules.yml").read_text()
    tests = (CONFIGURATION / "rules_test.yml").read_text()
    names = [
        line.split(":", 1)[1].strip()
        for line in rules.splitlines()
        if line.strip().startswith(("- record:", "- alert:"))
    ]
    assert len(names) > 10
    assert [name for name in names if name not in tests] == []


def test_everything_that_can_be_served_is_named_as_prometheus_wants() -> None:
    shown = Present(star(2, faults=(fault("dropout", 1.0, 2.0, nodes=("d-1",)),)), {"substrate": "mininet"})
    for metric in METRICS:
        shown.record("d-1", Record(1.0, metric, 1.0, {"kind": "x", "reason": "y", "link": "d-1>coordinator"}))
    for what in ("rtt_s", "rate_bps", "loss"):
        shown.checks([Check(what, "a>b", 1.0, 1.0, 0.1, True)])
    shown.event("fault_injected", {"fault": 0, "kind": "dropout"}, 1.0)
    assert promtool("check", "metrics", text=shown.table.text(openmetrics=False)) == ""
