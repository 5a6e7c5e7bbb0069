"""Statistics against figures worked by hand or by textbooks."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.multitest import multipletests

from analysis.statistics import holm, mean, omnibus, paired, survival
from analysis.statistics.survival import horizon

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20)
ROUNDING_FIRST_BASE = [
    *([5.40, 5.50, 5.55], [5.85, 5.70, 5.75], [5.20, 5.60, 5.50], [5.55, 5.50, 5.40], [5.90, 5.85, 5.70]),
    *([5.45, 5.55, 5.60], [5.40, 5.40, 5.35], [5.45, 5.50, 5.35], [5.25, 5.15, 5.00], [5.85, 5.80, 5.70]),
    *([5.25, 5.20, 5.10], [5.65, 5.55, 5.45], [5.60, 5.35, 5.45], [5.05, 5.00, 4.95], [5.50, 5.50, 5.40]),
    *([5.45, 5.55, 5.50], [5.55, 5.55, 5.35], [5.45, 5.50, 5.55], [5.50, 5.45, 5.25], [5.65, 5.60, 5.40]),
    *([5.70, 5.65, 5.55], [6.30, 6.30, 6.25]),
]


def test_the_interval_of_a_mean_is_students() -> None:
    found = mean([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.low is not None
    assert found.high is not None
    assert found.high - 2.0 == pytest.approx(4.302653 * 1.0 / 3**0.5)  # t of 2 degrees of freedom, s = 1
    assert 2.0 - found.low == pytest.approx(found.high - 2.0)
    assert found.sd == 1.0


def test_one_value_has_no_interval() -> None:
    assert mean([5.0]).low is None
    assert paired([5.0], [3.0]).p is None


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean([])


def test_pairs_see_through_what_pairs_share() -> None:
    ours, theirs = [10.1, 20.1, 30.2], [10.0, 20.0, 30.0]
    found = paired(ours, theirs)
    assert found.difference.mean == pytest.approx(0.4 / 3)
    assert found.p is not None
    assert found.p == pytest.approx(0.0572, abs=1e-3)  # t = 4.0, 2 degrees of freedom
    assert stats.f_oneway(ours, theirs).pvalue > 0.9, "a test that takes them for independent sees nothing"


def test_differences_that_are_all_equal_leave_no_doubt() -> None:
    assert paired([2.0, 3.0], [1.0, 2.0]).p == 0.0
    assert paired([2.0, 3.0], [2.0, 3.0]).p == 1.0


def test_pairs_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        paired([1.0], [1.0, 2.0])


@given(VALUES)
def test_the_mean_lies_inside_its_interval(values: list[float]) -> None:
    found = mean(values)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.mean <= found.high


def test_holm_adjusts_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_holm_is_statsmodels_own() -> None:
    p_values = [0.001, 0.04, 0.03, 0.2, 0.0105, 0.5]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_the_exact_test_and_students_agree_with_fishers_figures_of_darwins_maize() -> None:
    """Fisher, The Design of Experiments (1935), sections 17 and 21: 15 pairs of plants, in eighths of an inch.

    t is 2.148 with p 4.970 %; in 863 of 32,768 ways to give the differences their signs their sum reaches 314, to one
    side: both sides are 5.267 %.
    """
    differences = [49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    found = paired(differences, [0.0] * 15)
    assert found.t == pytest.approx(2.148, abs=5e-4)
    assert found.p == pytest.approx(0.0497, abs=5e-5)
    assert found.p_exact == pytest.approx(2 * 863 / 32768)


def test_the_exact_test_is_scipys_permutation_test() -> None:
    ours, theirs = [0.91, 0.88, 0.93, 0.86, 0.9, 0.92], [0.9, 0.84, 0.94, 0.83, 0.87, 0.85]
    differences = np.subtract(ours, theirs)
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert paired(ours, theirs).p_exact == pytest.approx(expected)


def test_five_pairs_cannot_be_surer_than_one_in_sixteen() -> None:
    found = paired([1.0, 2.0, 3.1, 4.0, 5.2], [0.0] * 5)
    assert found.p_exact == 0.0625
    assert found.p is not None
    assert found.p < 0.02
    assert paired([float(n) for n in range(17)], [0.5] * 17).p_exact is None


def test_effect_sizes_are_those_of_lakens() -> None:
    """Lakens (2013), Frontiers in Psychology 4:863, the two movies: t(9) = 4.74, d_z = 1.50, Hedges' g_av = 1.08."""
    found = paired([9.0, 7, 8, 9, 8, 9, 9, 10, 9, 9], [9.0, 6, 7, 8, 7, 9, 8, 8, 8, 7])
    assert found.difference.mean == pytest.approx(1.0)
    assert found.t == pytest.approx(4.74, abs=5e-3)
    assert found.d_z == pytest.approx(1.50, abs=5e-3)
    assert found.g_av == pytest.approx(1.08, abs=5e-3)


def test_an_effect_without_any_spread_has_no_size() -> None:
    found = paired([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
    assert (found.t, found.d_z, found.g_av) == (None, None, None)
    assert found.p == 0.0


def test_repeated_measures_give_the_figures_of_a_published_example() -> None:
    """Laerd Statistics, repeated measures ANOVA: six people's fitness before, after 3 and after 6 months of exercise.

    F(2, 10) = 12.53, p = 0.002; with Greenhouse and Geisser's epsilon of 0.638, F(1.277, 6.384), p = 0.009.
    """
    months = ([45.0, 42, 36, 39, 51, 44], [50.0, 42, 41, 35, 55, 49], [55.0, 45, 43, 40, 59, 56])
    found = omnibus(list(zip(*months, strict=True)))
    assert found is not None
    assert (found.df_arms, found.df_rest, found.seeds) == (2, 10, 6)
    assert found.f == pytest.approx(12.53, abs=5e-3)
    assert found.p == pytest.approx(0.002, abs=5e-4)
    assert found.epsilon == pytest.approx(0.638, abs=5e-4)
    assert found.p_corrected == pytest.approx(0.009, abs=5e-4)


def test_friedmans_test_gives_the_figures_of_hollander_and_wolfe() -> None:
    """Hollander and Wolfe (1973), p. 140: 22 players round first base in three ways; 11.14 with p 0.0038."""
    found = omnibus(ROUNDING_FIRST_BASE)
    assert found is not None
    assert found.friedman == pytest.approx(11.143, abs=5e-4)
    assert found.p_friedman == pytest.approx(0.003805, abs=5e-7)


@given(st.integers(2, 8), st.integers(3, 6), st.integers(0, 2**32 - 1), st.sampled_from([1, 12]))
def test_repeated_measures_and_ranks_are_those_of_statsmodels_and_scipy(
    seeds: int, arms: int, chance: int, decimals: int
) -> None:
    """With one decimal many values tie."""
    table = np.round(np.random.default_rng(chance).normal(0.5, 0.2, (seeds, arms)), decimals)
    found = omnibus(table.tolist())
    if found is None:
        return
    rows, columns = np.indices(table.shape)
    frame = pd.DataFrame({"seed": rows.ravel(), "arm": columns.ravel(), "value": table.ravel()})
    expected = AnovaRM(frame, "value", "seed", within=["arm"]).fit().anova_table.iloc[0]
    assert (found.df_arms, found.df_rest) == (expected["Num DF"], expected["Den DF"])
    assert found.f == pytest.approx(expected["F Value"], rel=1e-6, abs=1e-9)
    assert found.p == pytest.approx(expected["Pr > F"], rel=1e-6, abs=1e-12)
    ranks = stats.friedmanchisquare(*table.T)
    assert found.friedman == pytest.approx(ranks.statistic, abs=1e-9)
    assert found.p_friedman == pytest.approx(ranks.pvalue, abs=1e-9)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=12))
def test_the_paired_test_and_its_interval_are_scipys(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    found = paired(ours, theirs)
    if found.t is None or np.ptp(np.subtract(ours, theirs)) < 1e-6:
        return
    expected = stats.ttest_rel(ours, theirs)
    assert found.t == pytest.approx(expected.statistic, rel=1e-6, abs=1e-9)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    interval = expected.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


@given(
    st.lists(st.integers(1, 9).map(float), min_size=1, max_size=9), st.lists(st.integers(1, 9).map(float), max_size=9)
)
def test_medians_are_those_of_scipys_kaplan_meier(reached: list[float], ended: list[float]) -> None:
    curve = stats.ecdf(stats.CensoredData(reached, right=ended)).sf
    below = [at for at, share in zip(curve.quantiles, curve.probabilities, strict=True) if share <= 0.5 + 1e-12]
    assert survival(reached, ended, 9.0).median == (below[0] if below else None)


def test_two_arms_one_seed_or_no_variation_leave_nothing_to_analyse() -> None:
    assert omnibus([[1.0, 2.0], [2.0, 1.0]]) is None
    assert omnibus([[1.0, 2.0, 3.0]]) is None
    assert omnibus([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]) is None


def test_survival_gives_the_figures_of_freireichs_trial() -> None:
    """Freireich et al. (1963), weeks of remission: medians of 23 with 6-mercaptopurine, where 12 of 21 had not ended,
    and of 8 with a placebo. The restricted mean is the area under statsmodels' curve.
    """
    ended = [6.0, 6, 6, 7, 10, 13, 16, 22, 23]
    lasting = [6.0, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    found = survival(ended, lasting, 35.0)
    assert (found.reached, found.count, found.median) == (9, 21, 23.0)
    curve = SurvfuncRight([*ended, *lasting], [1] * len(ended) + [0] * len(lasting))
    steps = np.diff([0.0, *curve.surv_times, 35.0])
    assert found.restricted_mean == pytest.approx(float(steps @ np.array([1.0, *curve.surv_prob])))
    placebo = [1.0, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    assert survival(placebo, [], 35.0).median == 8.0
    assert survival(placebo, [], 35.0).restricted_mean == pytest.approx(np.mean(placebo))


def test_runs_that_never_get_there_pull_the_mean_up_and_may_leave_no_median() -> None:
    found = survival([10.0], [60.0, 60.0], 60.0)
    assert (found.reached, found.count, found.median) == (1, 3, None)
    assert found.restricted_mean == pytest.approx((10 + 60 + 60) / 3)
    assert survival([], [60.0], 60.0).restricted_mean == 60.0
    with pytest.raises(ValueError, match="no runs"):
        survival([], [], 1.0)


def test_means_are_restricted_to_what_every_arm_that_got_there_can_tell() -> None:
    assert horizon([([10.0], [60.0]), ([20.0, 80.0], [])]) == 60.0
    assert horizon([([10.0], []), ([20.0], [])]) == 20.0
    assert horizon([([10.0], []), ([], [3.0])]) == 10.0, "an arm that never got there shortens nobody's"
    assert horizon([([], [3.0]), ([], [5.0])]) == 3.0
