"""The tables of the papers' document, from a comparison made up here."""

import json
from pathlib import Path

from analysis import papers
from analysis.groups import group
from analysis.inference import overall
from analysis.load import Run

CLAIM = {"metric": "test_accuracy", "arm": "a", "against": "b", "by": "difference", "where": [], "at_least": -0.02}


def write_comparison(folder: Path, arms: tuple[tuple[str, float], ...] = (("a", 0.9), ("b", 0.8))) -> None:
    runs = [
        {
            "label": f"arm={arm} seed={seed}",
            "directory": f"{arm}{seed}",
            "status": "complete",
            "summary": {"test_accuracy": accuracy + seed / 100, "sent_payload_bytes": 1e6, "wire_bytes": None},
        }
        for arm, accuracy in arms
        for seed in (1, 2, 3)
    ]
    first = folder / "a1"
    first.mkdir(parents=True)
    plan = {"stop_after_s": 60.0, "nodes": [{"role": "coordinator"}, {"role": "device"}, {"role": "device"}]}
    (first / "plan.json").write_text(json.dumps(plan))
    (first / "environment.json").write_text(json.dumps({"substrate": "simulation"}))
    (folder / "compare.json").write_text(json.dumps({"runs": runs, "claims": [CLAIM]}))


def test_blocks_are_filled_and_the_words_around_them_stay(tmp_path: Path) -> None:
    write_comparison(tmp_path / "runs" / "made_up")
    document = tmp_path / "papers.md"
    document.write_text(
        "before\n<!-- runs: made_up -->\nstale\n<!-- end -->\nbetween\n<!-- runs: none -->\nkept\n<!-- end -->\nafter\n"
    )
    assert papers.main([str(tmp_path / "runs"), str(document)]) == 0
    text = document.read_text()
    assert "stale" not in text
    assert "between\n<!-- runs: none -->\nkept\n<!-- end -->\nafter\n" in text
    assert "6 runs on the substrate simulation: 2 devices, 60 s each." in text
    assert "| a | 92.0 % ± 2.5 % | 1.00 MB ± 0 B |" in text
    assert "| accuracy of a - b ≥ -2.0 points | +10.0 points" in text
    assert "**holds**" in text
    assert "That all arms have the same accuracy: p < 0.001 (paired t-test, 3 seeds)." in text
    assert papers.main([str(tmp_path / "runs"), str(document)]) == 0
    assert document.read_text() == text, "filling twice is filling once"


def test_runs_that_cannot_be_trusted_are_named(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    comparison = json.loads((tmp_path / "compare.json").read_text())
    comparison["runs"][1]["status"] = "degraded"
    assert "not to be trusted: arm=a seed=2" in papers.tables(comparison, tmp_path)


def test_a_comparison_that_is_not_done_says_how_many_runs_are_missing(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    comparison = json.loads((tmp_path / "compare.json").read_text()) | {"planned": 8}
    assert "2 are missing" in papers.tables(comparison, tmp_path)


def test_arms_are_tested_seed_by_seed_as_in_a_report(tmp_path: Path) -> None:
    write_comparison(tmp_path, (("a", 0.9), ("b", 0.8), ("c", 0.7)))
    comparison = json.loads((tmp_path / "compare.json").read_text())
    runs = comparison["runs"]
    for run, chance in zip(runs, (0.01, -0.01, 0.0, 0.02, 0.0, -0.01, -0.02, 0.01, 0.0), strict=True):
        run["summary"]["test_accuracy"] += chance
    groups = group([Run(tmp_path, run["label"], {"seed": int(run["label"][-1])}, run) for run in runs])
    report = overall(groups)
    assert report is not None
    said = dict(zip(report.header, report.rows[0], strict=True))
    text = papers.tables(comparison, tmp_path)
    assert f"{said['repeated measures']}, p " in text
    assert f"3 seeds, corrected by Greenhouse and Geisser's epsilon {said['epsilon']}" in text
    assert "one-way" not in text


def test_an_arm_that_lacks_a_seed_is_tested_by_the_seeds_that_all_have(tmp_path: Path) -> None:
    write_comparison(tmp_path)
    comparison = json.loads((tmp_path / "compare.json").read_text())
    comparison["runs"][0] |= {"status": "broke", "summary": {}}
    comparison["runs"][1]["summary"]["test_accuracy"] += 0.01
    assert "(paired t-test, 2 seeds)" in papers.tables(comparison, tmp_path)
