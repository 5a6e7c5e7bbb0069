"""The checkers of what nodes did: true of a run that is all right, false once it is tampered with, else unknown."""

from dataclasses import replace
from pathlib import Path

import pytest

from node_image.records import Record
from orchestrator.substrates.base import LinkCount
from orchestrator.verify import CHECKS, to_json, verify
from orchestrator.verify.checked import judged
from orchestrator.verify.history import History
from orchestrator.verify.links import problems
from tests.plans import COORDINATOR
from tests.unit.histories import changed, disturbed, first, gossiping, said, truth, with_links, with_records


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return disturbed(tmp_path_factory.mktemp("disturbed") / "run")


@pytest.fixture(scope="module")
def gossip(tmp_path_factory: pytest.TempPathFactory) -> History:
    return gossiping(tmp_path_factory.mktemp("gossip") / "run")


def test_of_a_run_that_is_all_right_nothing_is_false(history: History, gossip: History) -> None:
    found = {each.id: each for each in verify(history)}
    assert {id_: each.reasons for id_, each in found.items() if each.truth == "false"} == {}
    assert [id_ for id_, each in found.items() if each.truth == "unknown"] == ["I8"], "nothing to compare it with"
    assert {each.truth for each in verify(gossip) if each.id not in ("I3", "I4", "I5")} == {"true"}


def test_what_is_written_names_every_invariant_with_its_reason(history: History) -> None:
    told = to_json(verify(history))["invariants"]
    assert [each["id"] for each in told] == list(CHECKS)
    assert all(each["reasons"] and each["about"] for each in told)


def test_a_check_that_fails_leaves_its_invariant_unknown(history: History) -> None:
    found = {each.id: each for each in verify(replace(history, own=[None]))}  # type: ignore[list-item]  # on purpose
    assert found["I1"].truth == "unknown"
    assert "failed" in found["I1"].reasons[0]


def test_of_many_reasons_the_first_are_told_and_the_rest_counted() -> None:
    assert judged("I1", "", [str(number) for number in range(8)]).reasons == ("0", "1", "2", "3", "4", "and 3 more")


# --- I1: links ---

COUNT = LinkCount(10, 1000, 6, 600, {"loss": 3}, {"loss": 300}, 1, 100)


@pytest.mark.parametrize(
    "count",
    [
        replace(COUNT, delivered_packets=7),
        replace(COUNT, delivered_bytes=601),
        replace(COUNT, dropped={"loss": 2}),
        replace(COUNT, dropped_bytes={}),
        replace(COUNT, in_flight_packets=0),
        replace(COUNT, in_flight_bytes=0),
        replace(COUNT, delivered_packets=-1, in_flight_packets=8),
    ],
)
def test_a_link_that_cannot_account_for_all_is_told(count: LinkCount) -> None:
    assert problems(COUNT) == []
    assert problems(count)


def test_links_are_believed_only_where_records_and_nodes_agree(history: History) -> None:
    assert history.links is not None
    assert truth("I1", history) == "true"
    assert truth("I1", with_links(history, delivered_packets=0)) == "false"
    assert truth("I1", replace(history, own=history.own[10:])) == "false"
    sent = [record for record in history.own if record.metric == "sent_wire_bytes"]
    assert truth("I1", replace(history, own=[record for record in history.own if record is not sent[3]])) == "false"


def test_without_counters_or_where_a_shaper_cannot_tell_bytes_links_are_unknown(history: History) -> None:
    assert truth("I1", replace(history, links=None)) == "unknown"
    assert history.links is not None
    blind = {name: replace(count, dropped_bytes=None) for name, count in history.links.items()}
    assert truth("I1", replace(history, links=blind)) == "unknown"


# --- I2: messages ---


def test_a_message_more_or_less_than_was_sent_is_told(history: History) -> None:
    received = first(history, COORDINATOR, "received_payload_bytes", kind="update")
    assert truth("I2", with_records(history, COORDINATOR, received)) == "false"
    assert truth("I2", changed(history, COORDINATOR, lambda each: None if each is received else each)) == "false"
    sent = first(history, "d-2", "sent_payload_bytes", kind="update")
    assert truth("I2", changed(history, "d-2", lambda each: None if each is sent else each)) == "false"


def test_a_message_that_comes_as_another_or_too_early_is_told(history: History) -> None:
    received = first(history, COORDINATOR, "received_payload_bytes", kind="update")

    def earlier(record: Record) -> Record:
        return replace(record, t=record.t - 0.05) if record is received else record

    def other(record: Record) -> Record:
        return replace(record, labels={**record.labels, "kind": "join"}) if record is received else record

    assert "which had sent" in " ".join(said("I2", changed(history, COORDINATOR, earlier)).reasons)
    assert "which had sent" in " ".join(said("I2", changed(history, COORDINATOR, other)).reasons)


def test_a_sum_that_is_reported_otherwise_is_told(history: History) -> None:
    wrong = {**history.summary, "sent_payload_bytes": 1.0}
    assert "reported" in said("I2", replace(history, summary=wrong)).reasons[0]


def test_in_real_time_a_killed_process_may_have_taken_its_last_records_with_it(history: History) -> None:
    real = replace(history, is_virtual=False)
    assert truth("I2", real) == "unknown", "d-1 was killed"
    for device, expected in (("d-1", "unknown"), ("d-2", "false")):
        sent = first(history, device, "sent_payload_bytes", kind="update")
        without = tuple(record for record in history.nodes[device] if record is not sent)
        assert (
            truth("I2", replace(real, nodes={**history.nodes, device: without}, summary={}, _by_metric={})) == expected
        )


def test_in_real_time_a_connection_may_be_written_down_long_after_its_peer_used_it(history: History) -> None:
    hello = first(history, "d-2", "sent_payload_bytes", kind="hello")

    def late(record: Record) -> Record:
        return replace(record, t=record.t + 0.8) if record is hello else record

    delayed = changed(history, "d-2", late)
    assert "had not made" in " ".join(said("I2", delayed).reasons)
    assert truth("I2", replace(delayed, is_virtual=False)) == "unknown", "d-1 was killed"


# --- I3, I4, I5: updates ---


def test_an_update_that_was_neither_applied_nor_refused_is_told(history: History) -> None:
    applied = history.of(COORDINATOR, "staleness")
    assert truth("I3", history) == "true"
    gone = changed(history, COORDINATOR, lambda each: None if each is applied[3] else each)
    assert "neither applied nor refused" in said("I3", gone).reasons[0]
    assert truth("I3", changed(history, COORDINATOR, lambda each: None if each is applied[-1] else each)) == "false", (
        "the last one may wait still, but it was counted as aggregated"
    )


def test_an_update_that_was_applied_twice_is_told(history: History) -> None:
    applied = history.of(COORDINATOR, "staleness")[3]
    assert truth("I4", history) == "true"
    assert truth("I4", with_records(history, COORDINATOR, replace(applied, t=applied.t + 1.0))) == "false"


def test_a_new_life_may_use_a_number_again(history: History) -> None:
    of_first = [each for each in history.of(COORDINATOR, "staleness") if each.labels["peer"] == "d-1"]
    before, after = of_first[0], next(each for each in of_first if each.t > 1.6)

    def again(record: Record) -> Record:
        labels = {**record.labels, "number": before.labels["number"]}
        return replace(record, labels=labels) if record is after else record

    assert truth("I4", changed(history, COORDINATOR, again)) == "true"


@pytest.mark.parametrize("by", [-1.0, 1.0])
def test_a_wrong_staleness_is_told(history: History, by: float) -> None:
    stale = next(each for each in history.of(COORDINATOR, "staleness") if each.value > 0)

    def wrong(record: Record) -> Record:
        return replace(record, value=record.value + by) if record is stale else record

    assert truth("I5", history) == "true"
    assert truth("I5", changed(history, COORDINATOR, wrong)) == "false"


def test_a_base_that_was_not_the_newest_when_its_model_left_is_told(history: History) -> None:
    some = history.of(COORDINATOR, "staleness")[10]

    older = {**some.labels, "base": str(int(some.labels["base"]) - 4)}

    def wrong(record: Record) -> Record:
        return replace(record, value=record.value + 4, labels=older) if record is some else record

    assert "its model left when" in said("I5", changed(history, COORDINATOR, wrong)).reasons[0]


def test_a_version_that_does_not_rise_is_told(history: History) -> None:
    versions = history.of(COORDINATOR, "version")

    def wrong(record: Record) -> Record:
        return replace(record, value=versions[3].value) if record is versions[4] else record

    assert "after version" in said("I5", changed(history, COORDINATOR, wrong)).reasons[0]


@pytest.mark.parametrize("id_", ["I3", "I4", "I5"])
def test_where_nobody_says_which_updates_were_applied_nobody_can_tell(
    history: History, gossip: History, id_: str
) -> None:
    def nameless(record: Record) -> Record:
        return replace(record, labels={}) if record.metric == "staleness" else record

    assert truth(id_, changed(history, COORDINATOR, nameless)) == "unknown"
    assert truth(id_, gossip) == "unknown"


# --- I8: models ---


def test_models_are_finite_and_as_good_as_undisturbed_ones_where_those_are_known(history: History) -> None:
    reached = history.summary["test_accuracy"]
    assert reached is not None
    assert truth("I8", history) == "unknown"
    assert truth("I8", replace(history, baseline_accuracy=reached + 0.03, margin=0.05)) == "true"
    assert truth("I8", replace(history, baseline_accuracy=reached + 0.06, margin=0.05)) == "false"
    broken = [
        replace(event, details={**event.details, "finite": False}) if event.name == "node_model" else event
        for event in history.events
    ]
    assert truth("I8", replace(history, events=broken)) == "false"
    assert truth("I8", replace(history, events=[])) == "unknown"


# --- I9: gossip ---


def test_gossip_that_makes_something_of_nothing_is_told(gossip: History) -> None:
    balance = gossip.of("d-2", "mixing_balance")[4]

    def wrong(record: Record) -> Record:
        return replace(record, value=record.value + 1e-4) if record is balance else record

    assert truth("I9", gossip) == "true"
    assert truth("I9", changed(gossip, "d-2", wrong)) == "false"


def test_rounds_in_which_somebody_was_not_heard_prove_nothing(gossip: History) -> None:
    def deaf(record: Record) -> Record:
        return replace(record, value=1.0) if record.metric == "neighbours" else record

    assert truth("I9", changed(gossip, "d-2", deaf)) == "unknown"


def test_where_nobody_gossips_the_mean_is_nobodys_business(history: History, gossip: History) -> None:
    assert truth("I9", history) == "true"
    silent = gossip
    for name in gossip.nodes:
        silent = changed(silent, name, lambda each: None if each.metric == "mixing_balance" else each)
    assert truth("I9", silent) == "unknown", "it gossips, and does not say what it gave"


def test_a_run_that_cannot_be_read_is_the_users_to_mend(tmp_path: Path) -> None:
    from orchestrator.errors import UsageError
    from orchestrator.verify.history import read_history

    with pytest.raises(UsageError, match="cannot be read as a run"):
        read_history(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        read_history(tmp_path)
