"""The journal: what a dead run left is found, a living run's is not, and nothing foreign is ever removed."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import journal
from orchestrator.journal import Journal, leftovers


def test_what_was_made_and_not_removed_is_left_over(tmp_path: Path) -> None:
    with Journal(tmp_path) as written:
        written.make("cgroup", "/x/edgebed-1")
        written.make("cgroup", "/x/edgebed-2")
        written.gone("cgroup", "/x/edgebed-1")
    assert [left.path for left in leftovers(tmp_path)] == ["/x/edgebed-2"]


def test_a_run_that_lives_is_left_alone(tmp_path: Path) -> None:
    with Journal(tmp_path) as written:
        written.make("cgroup", "/x/edgebed-1")
        assert list(leftovers(tmp_path)) == []


def test_a_torn_last_line_is_skipped(tmp_path: Path) -> None:
    with Journal(tmp_path) as written:
        written.make("cgroup", "/x/edgebed-1")
    with (tmp_path / journal.NAME).open("a") as file:
        file.write('{"make": "cgr')
    assert [left.path for left in leftovers(tmp_path)] == ["/x/edgebed-1"]


def test_cleaning_twice_is_harmless_and_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    gone = tmp_path / "edgebed-gone"
    with Journal(tmp_path) as written:
        written.make("cgroup", str(gone))
    assert len(journal.clean(tmp_path, dry_run=True)) == 1
    assert len(journal.clean(tmp_path)) == 1
    assert journal.clean(tmp_path) == []


def test_a_path_that_is_not_ours_is_refused_even_if_a_journal_names_it(tmp_path: Path) -> None:
    foreign = tmp_path / "somebody-else"
    foreign.mkdir()
    with Journal(tmp_path) as written:
        written.make("cgroup", str(foreign))
    with pytest.raises(ValueError, match="not a control group of Edgebed's"):
        journal.clean(tmp_path)
    assert foreign.is_dir()


def test_the_janitor_waits_for_the_lock_of_a_dying_orchestrator_whose_pipe_has_gone_first(tmp_path: Path) -> None:
    group = tmp_path / "edgebed-1"
    group.mkdir()
    with Journal(tmp_path) as written:
        written.make("cgroup", str(group))
        argv = [sys.executable, "-m", "orchestrator.janitor", str(tmp_path)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE) as janitor:
            assert janitor.stdin is not None
            janitor.stdin.close()
            with pytest.raises(subprocess.TimeoutExpired):
                janitor.wait(1.0)
            assert group.is_dir()
            written.__exit__(None, None, None)
            assert janitor.wait(20) == 0
    assert not group.exists()
