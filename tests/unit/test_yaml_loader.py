"""The YAML reader: YAML 1.2's scalars, places of everything, and a Problem for whatever is wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ScenarioError
from orchestrator.yaml_loader import MAX_BYTES, MAX_DEPTH, MAX_NODES, Place, parse_value, parse_yaml, read_yaml


def problems(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_yaml(text.encode(), "f")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("no", "no"),
        ("012", 12),
        ("0o14", 12),
        ("0x1F", 31),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-1.5e-3", -0.0015),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("true", True),
        ("~", None),
        ("", None),
        ("{a: [1, x]}", {"a": [1, "x"]}),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert parse_yaml(f"key: {text}".encode(), "f").data == {"key": value}
    assert parse_value(text, "f") == value


def test_every_key_and_value_has_its_place() -> None:
    document = parse_yaml(b"a:\n  - {b: 1,\n     c: two}\n", "f")
    assert document.keys[("a", 0, "c")] == Place(3, 6)
    assert document.values[("a", 0, "c")] == Place(3, 9)
    assert document.values[("a", 0)] == Place(2, 5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: {c: 1, c: 2}", "f:2:11: b: the key 'c' stands here twice; first on line 2"),
        ("1: x", "f:1:1: keys must be texts (found '1')"),
        ("[a]: x", "f:1:1: keys must be texts (found a list)"),
        ("a: {<<: {b: 1}}", "f:1:5: a: merge keys are not part of YAML 1.2; write the keys out"),
        ("a: .nan", "f:1:4: a: not a finite number (found '.nan')"),
        ("a: -.inf", "f:1:4: a: not a finite number (found '-.inf')"),
        ("a: 1e999", "f:1:4: a: not a finite number (found '1e999')"),
        ("a: " + "9" * 5000, "f:1:4: a: a whole number of more than 18 digits"),
        ("a: !!int zz", "f:1:4: a: 'zz' is not !!int"),
        ("a: !!float ''", "f:1:4: a: '' is not !!float"),
        ("a: !!timestamp 2024-13-45", "f:1:4: a: the tag tag:yaml.org,2002:timestamp is not allowed here"),
        (
            "a: !!python/object:os.system x",
            "f:1:4: a: the tag tag:yaml.org,2002:python/object:os.system is not allowed",
        ),
        ("a: !mine x", "f:1:4: a: the tag !mine is not allowed here"),
        ("&a [*a]", "f:1:1: an alias refers to what contains it"),
        ("a: *b", "f:1:4: not YAML: found undefined alias"),
        ("a: [1, 2", "not YAML: "),
        ("a: 'x", "not YAML: found unexpected end of stream"),
        ("a: \x01", "f:1:1: not YAML: "),
        ("a: 1\n---\nb: 2", "not YAML: but found another document"),
        ("", "f:1:1: the file is empty"),
        ("[" * 500, f"f:1:21: nested more than {MAX_DEPTH} deep"),
        ("a: b\n" * 3, "stands here twice"),
    ],
)
def test_what_yaml_lets_through_is_a_problem_at_its_place(text: str, problem: str) -> None:
    assert any(problem in found for found in problems(text))


def test_all_problems_of_a_file_are_reported_at_once() -> None:
    assert len(problems("a: 1\na: 2\n3: x\nb: .inf")) == 3


def test_a_file_that_is_too_large_or_holds_too_much_is_refused_before_it_is_built() -> None:
    assert problems("#" * (MAX_BYTES + 1)) == ["f:1:1: larger than 256 KiB"]
    assert f"more than {MAX_NODES} keys and values" in problems("[" + "1," * (MAX_NODES + 1) + "]")[0]


def test_aliases_may_be_used_but_not_to_multiply_the_document() -> None:
    assert parse_yaml(b"a: &x [1, 2]\nb: *x", "f").data == {"a": [1, 2], "b": [1, 2]}
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcd", "bcde", strict=True)
    )
    assert problems(bomb) == ["f:1:1: aliases make it more than 10 times as large as written"]
    many = "a: &a x\nb: [" + "*a," * 101 + "]"
    assert "more than 100 aliases" in problems(many)[0]
    deep = "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 30))
    assert problems(deep) == [f"f:1:1: aliases nest it more than {MAX_DEPTH} deep"]


def test_text_that_is_not_utf_8_is_refused_with_its_line() -> None:
    with pytest.raises(ScenarioError, match=r"f:2:1: not UTF-8 text: .* at byte 8"):
        parse_yaml(b"a: 1\nb: \xff", "f")


@pytest.mark.parametrize("name", ["nothing.yaml", "."])
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScenarioError, match="cannot read it"):
        read_yaml(tmp_path / name)


@given(st.text(alphabet="ab01:-[]{},&*!|>'\"#%@`~.\n \t", max_size=60) | st.text(max_size=40))
def test_any_text_is_data_or_a_scenario_error(text: str) -> None:
    try:
        document = parse_yaml(text.encode("utf-8", "surrogatepass"), "f")
    except ScenarioError as error:
        assert error.problems
    else:
        assert () in document.values
