"""How a YAML mapping becomes a type: strict forms whose mistakes read well, and the way from a mistake to its place.

Every error is given its words where it arises (pydantic's own are translated here, once) and keeps its path.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    Strict,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from orchestrator.yaml_loader import DataPath

if TYPE_CHECKING:
    from orchestrator.presets import Presets

Count = Annotated[int, Strict(), Field(ge=1)]
Flag = Annotated[bool, Strict()]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]

PRESETS = "x-presets"
LISTED = 40  # known names that a message lists at most
MOST_MISTAKES = 200  # of one mapping: as many as anybody reads; a file of noise has tens of thousands
_UNIT_SUFFIXES = re.compile(r"_(j_per_mbit|m_per_s|per_s|bps|bytes|joules|s|m|w)$")


def written_name(field: str) -> str:
    """The key of a field in YAML: `delay_s` is written `delay`, because its value carries the unit."""
    return _UNIT_SUFFIXES.sub("", field)


class Form(BaseModel):
    """A mapping with known keys. Fields are in base units; keys are written without the unit."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=written_name)

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, data: Any, handler: ModelWrapValidatorHandler["Form"]) -> "Form":
        try:
            return handler(data)
        except ValidationError as error:
            raise refusal(_reworded(error, keys_of(cls))) from error


def keys_of(form: type[BaseModel]) -> tuple[str, ...]:
    """The keys that a form knows, as written."""
    return tuple(field.alias or name for name, field in form.model_fields.items())


def unknown(what: str, found: object, known: Iterable[str]) -> str:
    """`unknown fault kind (found 'nap'); known: crash, pause; did you mean 'pause'?`"""
    names = sorted(known)
    close = difflib.get_close_matches(str(found), names, n=1, cutoff=0.5)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    listed = names if len(names) <= LISTED else [*names[:LISTED], f"and {len(names) - LISTED} more"]
    return f"unknown {what}{shown(found)}; known: {', '.join(listed) or 'none'}{meant}"


Mistake = tuple[DataPath, str]


def refusal(mistakes: Iterable[Mistake]) -> ValidationError:
    """Several mistakes as one error that pydantic carries outwards, adding the path on its way."""
    details = [
        InitErrorDetails(type=PydanticCustomError("edgebed", "{text}", {"text": text}), loc=path, input=None)
        for path, text in mistakes
    ]
    return ValidationError.from_exception_data("edgebed", details)


def mistakes_of(error: ValidationError) -> list[Mistake]:
    """Every mistake in an error, with its path."""
    return _reworded(error, ())


def _reworded(error: ValidationError, keys: tuple[str, ...]) -> list[Mistake]:
    # A list whose items are all wrong is called too short as well, which it is not.
    errors = [each for each in error.errors(include_url=False) if each["type"] != "too_short" or not each["input"]]
    return [(each["loc"], _text(each, keys)) for each in errors[:MOST_MISTAKES]]


def _text(error: ErrorDetails, keys: tuple[str, ...]) -> str:
    kind, found = error["type"], error["input"]
    context = error.get("ctx", {})
    if kind == "edgebed":
        return str(context["text"])
    if kind == "extra_forbidden":
        return unknown("key", error["loc"][-1], keys)
    if kind == "missing":
        return "is required"
    if kind == "literal_error":
        return unknown("word", found, re.findall(r"'([^']*)'", context["expected"]))
    if kind == "string_pattern_mismatch":
        return f"not a name here: small letters, digits, - and _, a letter first{shown(found)}"
    if kind == "too_short":
        return "must not be empty"
    if kind == "value_error":
        text = str(context["error"])
        return text if "(found" in text or isinstance(found, Mapping) else text + shown(found)
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"must be a mapping{shown(found)}"
    if kind in ("tuple_type", "list_type"):
        return f"must be a list{shown(found)}"
    if kind == "string_type":
        return f"must be a text{shown(found)}"
    if kind == "int_type":
        return f"must be a whole number{shown(found)}"
    if kind == "bool_type":
        return f"must be true or false{shown(found)}"
    return f"{error['msg'].replace('Input should', 'must')}{shown(found)}"


def shown(found: object) -> str:
    """` (found 5)`: a value as messages quote it; mappings are quoted by their kind alone."""
    if isinstance(found, Mapping | BaseModel):
        return "" if isinstance(found, BaseModel) else " (found a mapping)"
    text = "null" if found is None else repr(found)
    if isinstance(found, bool):
        text = str(found).lower()
    return f" (found {text if len(text) <= 60 else text[:57] + '...'})"


@dataclass(frozen=True)
class Reading:
    """What reading a value may need beside it; pydantic hands it through as the context."""

    folder: Path  # of the file being read: relative paths start there
    presets: "Presets"  # where names of link shapes, device profiles and radios are looked up


def read_by(read: Callable[[Any, Reading], Any], written_as: Any) -> WrapValidator:
    """Metadata of a field that is read by a function of ours; `written_as` is its type in the file, for the schema."""

    def validate(value: Any, _: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        assert isinstance(info.context, Reading), "forms are validated with context=Reading(...)"
        try:
            return read(value, info.context)
        except OSError as error:  # of a file that the value names: a name too long, a folder that we may not enter
            raise ValueError(f"cannot be read ({error.strerror}){shown(value)}") from error

    return WrapValidator(validate, json_schema_input_type=written_as)


def read_path(what: str, find: Callable[[str, Path], Any]) -> WrapValidator:
    """Metadata of a field that is the path of `what`, which is found by the path as written and this file's folder."""

    def read(value: Any, reading: Reading) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"must be the path of {what}, relative to this file")  # noqa: TRY004 - for pydantic
        return find(value, reading.folder)

    return read_by(read, str)


def name_of(kind: Literal["links", "devices", "radios"]) -> Any:
    """A text that names a preset of that kind, for the JSON Schema: `schema.py` lists the names."""
    return Annotated[str, Field(json_schema_extra={PRESETS: kind})]


def one_of(forms: Mapping[str, type[Form]], value: Any, reading: Reading, key: str = "kind") -> Any:
    """Read a mapping as the form that its `kind` (or another key) names; mistakes are those of that form alone."""
    known = ", ".join(sorted(forms))
    if not isinstance(value, Mapping):
        raise refusal([((), f"must be a mapping with a {key}; known: {known}{shown(value)}")])
    if key not in value:
        raise refusal([((key,), f"is required; known: {known}")])
    if value[key] not in list(forms):  # a list: the value may be one that has no hash
        raise refusal([((key,), unknown(key, value[key], forms))])
    return forms[value[key]].model_validate(value, context=reading)
