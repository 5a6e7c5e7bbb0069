"""Runs that differ by their seed alone belong together: a group is one arm in one setting, over all its seeds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.headlines import short_labels, short_word
from analysis.load import Run
from analysis.statistics import Mean, mean

ARM_KEYS = ("arm", "algorithm")
SEED = re.compile(r"[\s,;]*\bseed=\d+\b")
FEW_SEEDS = 5  # with fewer, a report says that intervals are wide


@dataclass(frozen=True)
class Group:
    """One arm in one setting (empty where there is but one), with a run for each seed."""

    arm: str
    setting: str
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """What tells it from the others: `elabip, dropout30`."""
        return f"{self.arm}, {self.setting}" if self.setting else self.arm

    def known(self, metric: str) -> list[float]:
        """The metric of the runs that have it."""
        found = [run.summary.get(metric) for run in self.runs]
        return [value for value in found if value is not None]

    def mean(self, metric: str) -> Mean | None:
        """The mean over the seeds; None where a seed lacks the metric, since the others would mislead."""
        known = self.known(metric)
        return mean(known) if known and len(known) == len(self.runs) else None


def group(runs: Sequence[Run]) -> list[Group]:
    """The groups of some runs, in the order in which they first appear."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(SEED.sub("", run.label).strip(), []).append(run)
    titles = _titles(list(members), runs[0].name if runs else "")
    return [Group(*title, tuple(each)) for title, each in zip(titles, members.values(), strict=True)]


def by_seed(members: Group, metric: str) -> dict[int, float]:
    """The metric of each run that has it, by the run's seed: runs of two groups with one seed are a pair."""
    found = ((run.plan.get("seed"), run.summary.get(metric)) for run in members.runs)
    return {int(seed): value for seed, value in found if seed is not None and value is not None}


def arms(groups: Sequence[Group]) -> list[str]:
    """The arms, in order."""
    return list(dict.fromkeys(each.arm for each in groups))


def settings(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """The groups by their settings, in order; one without a name, where nothing but the arm varies."""
    found: dict[str, list[Group]] = {}
    for each in groups:
        found.setdefault(each.setting, []).append(each)
    return found


def most_seeds(groups: Sequence[Group]) -> int:
    """How many runs the largest group has; 1 if no two runs differ by their seed alone."""
    return max((len(each.runs) for each in groups), default=0)


def listed(names: Sequence[str], of: int) -> str:
    """Names of runs for a sentence: `all 24 runs`, or the first few and how many more."""
    if len(names) == of > 1:
        return f"all {of} runs"
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"


def _titles(labels: Sequence[str], scenario: str) -> list[tuple[str, str]]:
    """Arm and setting of each label; where there is no arm among what varies, all that varies names the arm."""
    words = [label.split(" ") for label in labels]
    alike = len({tuple(word.partition("=")[0] for word in each) for each in words}) == 1
    if labels == [""]:
        return [(scenario, "")]  # nothing but the seed varies
    if not alike or "=" not in labels[0]:
        return [(label or scenario, "") for label in labels]
    varying = [column for column in zip(*words, strict=True) if len(set(column)) > 1]
    named = [column for column in varying if column[0].partition("=")[0] in ARM_KEYS]
    others = [column for column in varying if column not in named]
    if not named:
        return [(short, "") for short in short_labels(labels)]
    rest = list(zip(*others, strict=True)) or [()] * len(labels)
    return [(_short(arm), _short(setting)) for arm, setting in zip(zip(*named, strict=True), rest, strict=True)]


def _short(words: Sequence[str]) -> str:
    return " ".join(map(short_word, words))
