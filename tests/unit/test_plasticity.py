"""The agents that choose the plasticity: one step by hand, and a small world that they must learn."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from node_image import plasticity
from node_image.plasticity import (
    FIRST,
    RATES,
    Agent,
    Fixed,
    Pace,
    PolicyGradient,
    QLearning,
    Seen,
    policy_input,
    reward,
)


def test_the_reward_is_gain_and_consistency_less_age() -> None:
    seen = Seen(before=0.5, after=0.61, staleness=4, divergence=0.3, devices=8)
    assert reward(seen) == pytest.approx(0.11 / 0.55 + 0.1 * 0.7 - 0.02 * 0.5)


def test_staleness_beyond_twice_the_fleet_costs_no_more() -> None:
    seen = Seen(staleness=16, devices=8)
    assert seen.age == 2.0
    assert reward(replace(seen, staleness=1000)) == reward(seen)


@pytest.mark.parametrize(
    ("seen", "number"),
    [
        (Seen(0.5, 0.49, 0, 0.0, 8), 0),
        (Seen(0.5, 0.496, 3, 0.04, 8), 9),
        (Seen(0.5, 0.504, 4, 0.05, 8), 13),
        (Seen(0.5, 0.52, 10, 0.19, 8), 22),
        (Seen(0.5, 0.6, 11, 0.2, 8), 26),
    ],
)
def test_situations_fall_into_27_states(seen: Seen, number: int) -> None:
    assert plasticity.state(seen) == number


def test_one_q_update_has_the_value_of_its_equation() -> None:
    agent = QLearning()
    here, there = Seen(), Seen(0.5, 0.6)
    agent.values[plasticity.state(there), 1] = 2.0
    agent.values[plasticity.state(here), 3] = 0.5
    agent.learn(here, 3, 1.0, there)
    assert agent.values[plasticity.state(here), 3] == pytest.approx(0.5 + 0.3 * (1.0 + 0.5 * 2.0 - 0.5))
    assert np.count_nonzero(agent.values) == 2


def test_a_good_reward_makes_the_rate_taken_more_likely_and_a_bad_one_less() -> None:
    seen = Seen(0.4, 0.5, 3, 0.1, 8)
    for gained, sign in ((1.0, 1), (-1.0, -1)):
        agent = PolicyGradient()
        before = agent.policy(seen)[1]
        agent.learn(seen, 1, gained, seen)
        assert (agent.policy(seen)[1] - before) * sign > 0
        assert agent.baseline == pytest.approx(0.2 * gained)


def test_one_policy_gradient_update_has_the_value_of_its_equation() -> None:
    agent, seen = PolicyGradient(baseline=0.25), Seen(0.4, 0.5, 3, 0.1, 8)
    weights, policy = agent.weights.copy(), agent.policy(seen)
    agent.learn(seen, 2, 1.25, seen)
    expected = weights + 0.5 * 1.0 * np.outer(np.eye(5)[2] - policy, policy_input(seen))
    np.testing.assert_allclose(agent.weights, expected)


def test_the_policy_begins_by_preferring_the_first_rate() -> None:
    policy = PolicyGradient().policy(Seen())
    assert policy.argmax() == FIRST
    assert policy[FIRST] == pytest.approx(np.e / (np.e + 4))
    assert RATES[FIRST] == 0.05


def test_q_learning_begins_with_the_first_rate_and_explores_only_next_to_it() -> None:
    rng = np.random.default_rng(0)
    firsts = [QLearning().choose(Seen(), rng) for _ in range(300)]
    assert set(firsts) == {FIRST - 1, FIRST, FIRST + 1}
    assert firsts.count(FIRST) / 300 == pytest.approx(0.7, abs=0.1)


def test_q_learning_explores_less_and_less_but_never_stops() -> None:
    agent, rng = QLearning(), np.random.default_rng(0)
    agent.choose(Seen(devices=4), rng)
    assert agent.epsilon == pytest.approx(0.3 * 0.97)
    for _ in range(200):
        agent.choose(Seen(devices=4), rng)
    assert agent.epsilon == 0.05


def test_without_an_agent_the_rate_stays() -> None:
    agent = plasticity.agent("fixed", 0.07)
    assert isinstance(agent, Fixed)
    assert agent.rates[agent.choose(Seen(), np.random.default_rng(0))] == 0.07


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", [QLearning, PolicyGradient])
def test_an_agent_learns_a_small_known_world(make: Callable[[], Agent], seed: int) -> None:
    """Two situations: far from the prior (0.9), where the lowest rate pays most, and near it, where the highest does.

    Which comes next is chance, so that the best policy is known: rate 0 when far, rate 4 when near. Each rate further
    off pays a third of the one before; where it pays 0.75 of it, REINFORCE settles next to the best in 3 of 10 worlds.
    """
    agent, rng = make(), np.random.default_rng(seed)
    far, near = Seen(divergence=0.9, devices=8), Seen(divergence=0.0, devices=8)
    seen, gains = near, []
    for _ in range(4000):
        action = agent.choose(seen, rng)
        gained = 0.3 ** abs(action - (0 if seen is far else len(RATES) - 1))
        after = far if rng.random() < 0.5 else near
        agent.learn(seen, action, gained, after)
        seen = after
        gains.append(gained)
    assert np.mean(gains[:100]) < 0.6
    assert np.mean(gains[-500:]) > 0.9
    if isinstance(agent, QLearning):
        assert agent.values[plasticity.state(far)].argmax() == 0
        assert agent.values[plasticity.state(near)].argmax() == 4


# --- battery and load, which are part of what the agents see ---


def test_a_device_that_takes_twice_its_best_time_lacks_half_of_its_speed() -> None:
    pace = Pace()
    assert pace.load(1000, 1.0) == 0.0
    assert pace.load(3000, 6.0) == pytest.approx(0.5)
    assert pace.load(1000, 1.0) == 0.0
    assert pace.load(1000, 0.5) == 0.0, "faster than ever"
    assert pace.load(1000, 1.0) == pytest.approx(0.5), "and that is the measure from now on"
    assert pace.load(1000, 0.52) == 0.0, "the timer's noise"


def test_work_that_takes_no_time_is_no_load() -> None:
    assert Pace().load(1000, 0.0) == 0.0


@pytest.mark.parametrize(
    ("drained", "load", "number"),
    [(0.0, 0.0, 13), (0.79, 0.49, 13), (0.0, 0.5, 27 + 13), (0.8, 0.0, 54 + 13), (1.0, 0.9, 81 + 13)],
)
def test_each_of_the_27_states_has_four_by_battery_and_load(drained: float, load: float, number: int) -> None:
    seen = Seen(0.5, 0.504, 4, 0.05, 8, drained, load)
    assert plasticity.state(seen) == number
    assert QLearning().values.shape == (108, 5)


def test_on_mains_and_as_fast_as_ever_the_policy_is_that_of_five_inputs() -> None:
    seen, agent = Seen(0.4, 0.5, 3, 0.1, 8), PolicyGradient()
    np.testing.assert_allclose(policy_input(seen), [1.0, 0.1 / 0.65, 3 / 8, 0.1, 0.5, 0.0, 0.0])
    agent.learn(seen, 1, 1.0, seen)
    assert not agent.weights[:, 5:].any(), "what it has not met it has no opinion of"
    np.testing.assert_allclose(policy_input(replace(seen, drained=0.75, load=0.5))[5:], [0.75, 0.5])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("what", ["drained", "load"])
@pytest.mark.parametrize("make", [QLearning, PolicyGradient])
def test_an_agent_learns_to_mind_battery_and_load_where_that_pays(
    make: Callable[[], Agent], what: str, seed: int
) -> None:
    """The known world again, in which only the battery, or only the load, tells when to be careful."""
    agent, rng = make(), np.random.default_rng(seed)
    free, strained = Seen(devices=8), Seen(devices=8, drained=0.9 * (what == "drained"), load=0.9 * (what == "load"))
    seen, gains = free, []
    for _ in range(4000):
        action = agent.choose(seen, rng)
        gained = 0.3 ** abs(action - (0 if seen is strained else len(RATES) - 1))
        after = strained if rng.random() < 0.5 else free
        agent.learn(seen, action, gained, after)
        seen = after
        gains.append(gained)
    assert np.mean(gains[-500:]) > 0.9


def test_the_reward_does_not_mind_battery_or_load() -> None:
    seen = Seen(0.5, 0.6, 2, 0.1, 8)
    assert reward(replace(seen, drained=1.0, load=1.0)) == reward(seen)
