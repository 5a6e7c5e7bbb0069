"""Networks and contacts from files: what is read, what is refused, and what a topology makes of it."""

from pathlib import Path

import pytest

from orchestrator.contact_files import find_contacts, read_contacts
from orchestrator.errors import ScenarioError
from orchestrator.graph_files import LIGHT_IN_FIBRE_M_PER_S, find_sites, great_circle_m, read_matrix
from orchestrator.plan import DirectedLink, make_plan
from orchestrator.scenario import load_scenario

ZOO = """<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="label" attr.type="string" for="node" id="d1"/>
  <key attr.name="Latitude" attr.type="double" for="node" id="d2"/>
  <key attr.name="Longitude" attr.type="double" for="node" id="d3"/>
  <key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="d4"/>
  <graph edgedefault="undirected">
    <node id="0"><data key="d1">New York</data><data key="d2">40.71</data><data key="d3">-74.01</data></node>
    <node id="1"><data key="d1">London</data><data key="d2">51.51</data><data key="d3">-0.13</data></node>
    <node id="2"><data key="d1">London</data></node>
    <edge source="0" target="1"><data key="d4">10000000.0</data></edge>
    <edge source="1" target="2"/>
  </graph>
</graphml>
"""
SHADOW = """graph [
  directed 0
  node [ id 0 host_bandwidth_up "2 Mbit" host_bandwidth_down "8 Mbit" ]
  node [ id 1 host_bandwidth_up "1 Gbit" host_bandwidth_down "1 Gbit" ]
  edge [ source 0 target 0 latency "1 ms" packet_loss 0.0 ]
  edge [ source 0 target 1 latency "50 ms" jitter "2 ms" packet_loss 0.01 ]
]
"""
SCENARIO = """name: mapped
stop_after: 100 s
devices:
  - {group: pi, count: 3, profile: raspberry_pi_4LINK}
topology: TOPOLOGY
learning: {task: digits, model: mlp, algorithm: {name: ALGORITHM}}
"""


def planned(
    folder: Path, topology: str, link: str = "", more: str = "", algorithm: str = "fedavg"
) -> dict[str, DirectedLink]:
    file = folder / "it.yaml"
    text = SCENARIO.replace("LINK", link).replace("TOPOLOGY", topology).replace("ALGORITHM", algorithm)
    file.write_text(text + more)
    return {link.id: link for link in make_plan(load_scenario(file)).links}


def test_a_zoo_file_gives_rates_and_the_time_light_takes_between_places(tmp_path: Path) -> None:
    (tmp_path / "zoo.graphml").write_text(ZOO)
    found = find_sites("zoo.graphml", tmp_path)
    assert [site.name for site in found.sites] == ["new-york", "london", "london-2"]
    across, near = found.cables
    assert across.forward["rate_bps"] == 1e7
    places = [{"Latitude": 40.71, "Longitude": -74.01}, {"Latitude": 51.51, "Longitude": -0.13}]
    assert great_circle_m(*places) == pytest.approx(5_570_000, rel=0.005)  # known distance
    assert across.forward["delay_s"] == pytest.approx(great_circle_m(*places) / LIGHT_IN_FIBRE_M_PER_S)
    assert near.forward == {}  # nothing is known of it


def test_a_shadow_file_gives_latency_jitter_loss_and_the_rates_of_hosts(tmp_path: Path) -> None:
    (tmp_path / "it.gml").write_text(SHADOW)
    found = find_sites("it.gml", tmp_path)
    (cable,) = found.cables
    assert cable.forward == cable.backward == {"delay_s": 0.05, "jitter_s": 0.002, "loss": 0.01}
    assert (found.sites[0].up_bps, found.sites[0].down_bps) == (2e6, 8e6)


def test_a_gml_file_with_an_edge_twice_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "it.gml").write_text(SHADOW.replace("]\n]", ']\n  edge [ source 0 target 1 latency "9 ms" ]\n]'))
    (cable,) = find_sites("it.gml", tmp_path).cables
    assert cable.forward["delay_s"] == 0.05


def test_directed_edges_keep_their_own_values(tmp_path: Path) -> None:
    text = SHADOW.replace("directed 0", "directed 1").replace(
        "]\n]", ']\n  edge [ source 1 target 0 latency "9 ms" ]\n]'
    )
    (tmp_path / "it.gml").write_text(text)
    (cable,) = find_sites("it.gml", tmp_path).cables
    assert (cable.forward["delay_s"], cable.backward["delay_s"]) == (0.05, 0.009)


@pytest.mark.parametrize(
    "text", ["0,20,\n20,0,8\n,8,0\n", ",a,b,c\na,0,20,\nb,20,0,8\nc,,8,0\n", "ms,a,b,c\na,0,20,\nb,20,0,8\nc,,8,0\n"]
)
def test_a_matrix_halves_round_trip_times_and_leaves_empty_cells_unlinked(text: str) -> None:
    sites, cables = read_matrix(text)
    assert [(cable.a, cable.b, cable.forward["delay_s"]) for cable in cables] == [
        (sites[0].name, sites[1].name, 0.01),
        (sites[1].name, sites[2].name, 0.004),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.csv", "1,2\n3\n", "row 2 has 1 values"),
        ("x.csv", "0,-4\n-4,0\n", "must be milliseconds"),
        ("x.csv", "", "is empty"),
        ("x.gml", "graph [", "no GML"),
        ("x.graphml", "<graphml>", "no GraphML"),
        ("x.graphml", '<!DOCTYPE a [<!ENTITY b "c">]>' + ZOO, "entities"),
        ("x.gml", SHADOW.replace("0.01", "1.5"), "packet_loss must be"),
        ("x.gml", SHADOW.replace("2 Mbit", "2 furlongs"), "unknown unit"),
        ("x.txt", "", "known are .graphml, .gml, .csv"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_file(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        find_sites(name, tmp_path)
    assert str(caught.value).startswith(name)


def test_devices_hang_on_the_sites_they_are_put_on_by_their_own_link(tmp_path: Path) -> None:
    (tmp_path / "zoo.graphml").write_text(ZOO)
    links = planned(
        tmp_path, "{kind: network, file: zoo.graphml, link: {loss: 1 %}, at: {pi: [London, london-2]}}", ", link: lte"
    )
    assert {"pi-1>london", "pi-2>london-2", "pi-3>london", "coordinator>new-york", "new-york>london"} <= links.keys()
    shape = links["new-york>london"].shape
    assert (shape.rate_bps, shape.loss) == (1e7, 0.01)


def test_hosts_without_a_link_get_the_rates_of_their_site(tmp_path: Path) -> None:
    (tmp_path / "it.gml").write_text(SHADOW)
    links = planned(tmp_path, "{kind: network, file: it.gml, at: {pi: site-0}}")
    up, down = (links[name].shape.rate_bps for name in ("pi-1>site-0", "site-0>pi-1"))
    assert (up, down) == (2e6, 8e6)


def test_sites_and_groups_that_are_not_there_are_told_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "zoo.graphml").write_text(ZOO)
    with pytest.raises(ScenarioError) as caught:
        planned(tmp_path, "{kind: network, file: zoo.graphml, at: {pi: Lundon, nano: London}}", ", link: lte")
    said = str(caught.value)
    assert "unknown site (found 'Lundon')" in said
    assert "unknown group (found 'nano')" in said


def test_contacts_go_up_and_down_as_the_trace_says() -> None:
    names, up = read_contacts("# trace\n10 CONN n10 n2 up\n20 CONN n2 n10 down\n30 CONN n2 n10 up\n40 CONN n2 n3 up\n")
    assert names == ("n2", "n3", "n10")
    assert up == {(0, 1): ((40.0, None),), (0, 2): ((10.0, 20.0), (30.0, None))}


def test_away_is_the_time_between_contacts_as_fast_as_asked(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("0 CONN 1 2 up\n20 CONN 1 2 down\n30 CONN 1 2 up\n50 CONN 1 2 down\n")
    trace = find_contacts("c.txt", tmp_path)
    assert trace.away((0, 1), 1.0) == ((20.0, 30.0), (50.0, None))
    assert trace.away((0, 1), 10.0) == ((2.0, 3.0), (5.0, None))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line"),
        ("5 CONN 1 2 up\n4 CONN 1 2 down\n", "line 2: goes back in time"),
        ("x CONN 1 2 up\n", "line 1: must begin with seconds"),
        ("1 CONN 1 1 up\n", "line 1: must be"),
        ("1 CONN 1 2 sideways\n", "line 1: must be"),
    ],
)
def test_a_broken_contact_trace_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_contacts(text)


def test_a_plan_has_the_spells_of_a_contact_trace(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("0 CONN 1 2 up\n20 CONN 1 2 down\n30 CONN 2 3 up\n")
    links = planned(
        tmp_path, "{kind: contacts, file: c.txt, faster: 2}", ", link: wifi_5", "coordinator: none\n", "dsgd"
    )
    assert links["pi-1>pi-2"].away == ((10.0, None),)
    assert links["pi-3>pi-2"].away == ((0.0, 15.0),)


def test_more_names_in_a_trace_than_devices_are_told(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("".join(f"{t} CONN {t} {t + 1} up\n" for t in range(9)))
    with pytest.raises(ScenarioError, match="names 10 devices; the scenario has 3"):
        planned(tmp_path, "{kind: contacts, file: c.txt}", ", link: wifi_5", "coordinator: none\n", "dsgd")
