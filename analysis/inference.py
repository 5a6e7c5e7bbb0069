"""The tables of statistics as plain texts: each arm's figures, the arms in pairs, and whether they differ at all."""

from collections.abc import Sequence
from functools import partial
from itertools import combinations

from analysis.claims import difference
from analysis.groups import FEW_SEEDS, Group, by_seed, settings
from analysis.results import heads, leading, p_value
from analysis.statistics import Omnibus, Paired, holm, mean, omnibus, paired
from analysis.tabular import Table, span
from orchestrator import quantities

METRICS = ("test_accuracy", "sent_wire_bytes", "energy_joules")
FEW_ARMS = 4  # each pair of these is compared; of more arms, each with the first
LOST = "no figure"


def measured(groups: Sequence[Group]) -> list[str]:
    """The metrics that statistics are made of, those that any run has."""
    return [metric for metric in METRICS if any(group.known(metric) for group in groups)]


def described(groups: Sequence[Group], metric: str) -> Table:
    """Of one metric, a row for each arm: seeds, mean, standard deviation, interval, range, and the seeds without it."""
    everything = {run.plan.get("seed") for group in groups for run in group.runs}
    write = partial(quantities.of_metric, metric)
    rows: list[tuple[str, ...]] = []
    lost = 0
    for setting, members in settings(groups).items():
        for group in members:
            known, without = by_seed(group, metric), _without(group, metric, everything)
            lost += bool(without)
            front = ((setting,) if leading(groups) > 1 else ()) + (group.arm,)
            if not known:
                rows.append((*front, "0", *"----", without or "-"))
                continue
            found = mean(list(known.values()))
            interval = "-" if found.low is None or found.high is None else span(write(found.low), write(found.high))
            least, most = write(min(known.values())), write(max(known.values()))
            sd = "-" if found.sd is None else write(found.sd)
            rows.append((*front, str(found.count), write(found.mean), sd, interval, span(least, most), without or "-"))
    notes = ["SD is of the sample (n - 1); the interval is Student's t of the mean."]
    if lost:
        notes.append(
            "A seed without a figure is not part of the mean, and the mean may flatter for it: what failed is named."
        )
    header = (*heads(groups), "n", "mean", "SD", "95 % interval", "least to most", "seeds without it")
    if not lost:
        header, rows = header[:-1], [row[:-1] for row in rows]
    return Table(f"means_{metric}", _caption(metric), header, tuple(rows), leading(groups), tuple(notes))


def pairs(groups: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Which arms are compared, setting by setting: each pair of up to four, else each with the first."""
    found: list[tuple[Group, Group]] = []
    for members in settings(groups).values():
        if len(members) <= FEW_ARMS:
            found += [(theirs, ours) for ours, theirs in combinations(members, 2)]
        else:
            found += [(group, members[0]) for group in members[1:]]
    return found


def differences(groups: Sequence[Group], metric: str) -> Table | None:
    """Of one metric, a row for each pair of arms, seed by seed. None if no two arms share a seed."""
    several = leading(groups) > 1
    tested: list[tuple[tuple[str, ...], Paired]] = []
    for ours, theirs in pairs(groups):
        a, b = by_seed(ours, metric), by_seed(theirs, metric)
        seeds = sorted(a.keys() & b.keys())
        if seeds:
            front = ((ours.setting,) if several else ()) + (f"{ours.arm} − {theirs.arm}",)
            tested.append((front, paired([a[seed] for seed in seeds], [b[seed] for seed in seeds])))
    if not tested:
        return None
    adjusted = iter(holm([test.p for _, test in tested if test.p is not None]))
    rows = [(*front, *_tested(metric, test, None if test.p is None else next(adjusted))) for front, test in tested]
    header = (
        *(("setting",) if several else ()),
        *("arms", "n", "difference", "95 % interval", "t", "p", "p (Holm)", "p (exact)", "d_z", "g_av"),
    )
    notes = [
        "Arms are compared seed by seed: runs of one seed share data, initial weights, links and faults. p is of the "
        f"paired t-test, corrected by Holm for the {len(tested)} tests of this table; p (exact) is of the sign-flip "
        "permutation test, not corrected. d_z is Cohen's d of the differences, g_av Hedges' g over the mean of both "
        "standard deviations."
    ]
    fewest = min(test.difference.count for _, test in tested)
    if fewest < FEW_SEEDS + 1:
        notes.append(
            f"With {fewest} pairs p (exact) cannot be below {2.0 ** (1 - fewest):.3g}, however large the difference is."
        )
    return Table(
        f"pairs_{metric}", f"{_caption(metric)}, arms in pairs", header, tuple(rows), leading(groups), tuple(notes)
    )


def together(members: Sequence[Group], metric: str) -> Omnibus | None:
    """The arms of one setting at once, by the seeds that all of them have; None where there is too little to tell."""
    known = [by_seed(group, metric) for group in members]
    seeds = sorted(set.intersection(*(set(each) for each in known)))
    return omnibus([[each[seed] for each in known] for seed in seeds]) if seeds else None


def overall(groups: Sequence[Group]) -> Table | None:
    """Whether the arms differ at all, by metric and setting: repeated measures, with Friedman beside it."""
    rows = []
    for setting, members in settings(groups).items():
        for metric in measured(groups):
            found = together(members, metric)
            if found is None:
                continue
            rows.append(
                (
                    *((setting,) if leading(groups) > 1 else ()),
                    quantities.words(metric),
                    *(str(len(members)), str(found.seeds)),
                    f_value(found),
                    p_value(found.p),
                    f"{found.epsilon:.2f}",
                    p_value(found.p_corrected),
                    f"{found.friedman:.2f}",
                    p_value(found.p_friedman),
                )
            )
    if not rows:
        return None
    header = (
        *(("setting",) if leading(groups) > 1 else ()),
        *("metric", "arms", "seeds", "repeated measures", "p", "epsilon", "p (G-G)", "Friedman χ²", "p (Friedman)"),
    )
    note = (
        "Analysis of variance for repeated measures: seeds are the subjects, arms the treatments; only seeds that all "
        "arms have. p (G-G) is corrected by Greenhouse and Geisser's epsilon for differences that do not vary alike. "
        "Friedman's test looks at ranks alone and asks nothing of the distribution."
    )
    return Table("overall", "Do the arms differ at all?", header, tuple(rows), leading(groups), (note,))


def _tested(metric: str, test: Paired, corrected: float | None) -> tuple[str, ...]:
    found, write = test.difference, partial(difference, metric)
    interval = "-" if found.low is None or found.high is None else span(write(found.low), write(found.high))
    numbers = ["-" if each is None else f"{each:.3g}" for each in (test.t, test.d_z, test.g_av)]
    p = [p_value(each) for each in (test.p, corrected, test.p_exact)]
    return (str(found.count), write(found.mean), interval, numbers[0], *p, *numbers[1:])


def _without(group: Group, metric: str, seeds: set[int | None]) -> str:
    """The seeds that an arm lacks a figure of, each with what is known of it."""
    known, lost = by_seed(group, metric), {}
    for run in group.runs:
        if run.plan.get("seed") not in known:
            lost[run.plan.get("seed")] = str(run.result.get("status", "no result")) if run.result else "no result"
    own = {run.plan.get("seed") for run in group.runs}
    lost |= dict.fromkeys(seeds - own, "no run")
    return ", ".join(f"{seed} ({why})" for seed, why in sorted(lost.items(), key=lambda item: str(item[0])))


def f_value(found: Omnibus) -> str:
    """`F(2, 10) = 12.5`, as papers print it: of what hardly varies between seeds it is too large to have digits."""
    return f"F({found.df_arms:g}, {found.df_rest:g}) {'> 10,000' if found.f > 1e4 else f'= {found.f:.3g}'}"


def _caption(metric: str) -> str:
    return quantities.words(metric).capitalize()
