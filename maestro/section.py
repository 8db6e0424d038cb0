"""What all sections share: unknown keys are refused with a suggestion, amounts may be written as people write them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.json_schema import WithJsonSchema
from pydantic_core import PydanticCustomError

from maestro.address import ADDRESS_PATTERN, check_address
from maestro.errors import InvalidInputError
from maestro.units import parse_bytes, parse_bytes_per_s, parse_duration_s

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

_Number = TypeVar("_Number", int, float)


class Section(BaseModel):
    """Base of every section: frozen, and without keys that nothing reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: object) -> object:
        """Name the unknown key and the closest known one."""
        if not isinstance(data, dict):
            raise PydanticCustomError("not_a_section", "must be a group of keys with values")
        known = [info.alias or name for name, info in cls.model_fields.items()]
        for key in data:
            if key not in known:
                raise PydanticCustomError(
                    "unknown_key", "unknown key", {"key": key, "remedy": suggest(str(key), known, "known keys")}
                )
        return data


def suggest(word: str, known: list[str], label: str) -> str:
    """'did you mean "x"?' where a known word is close, else the list of known words."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"{label}: {', '.join(known) or 'none'}"


def _reader(parse: Callable[[Any], _Number], positive: bool) -> Callable[[object], _Number]:
    """Make a pydantic validator around one of the unit parsers."""

    def read(value: object) -> _Number:
        try:
            amount = parse(value)
        except InvalidInputError as error:
            raise PydanticCustomError(
                "amount", "{problem}", {"problem": error.problem, "remedy": error.remedy}
            ) from error
        if positive and amount <= 0:
            raise PydanticCustomError("amount", "must be greater than 0")
        return amount

    return read


def _amount_schema(pattern: str) -> WithJsonSchema:
    number = r"^\s*[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?\s*"
    return WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"{number}{pattern}$"}]}
    )


def _absolute(path: Path, info: ValidationInfo) -> Path:
    """Make ``path`` absolute, from the scenario file's folder. Links stay: a venv's interpreter is one."""
    folder = Path((info.context or {}).get("folder", "."))
    return Path(os.path.abspath(folder / path.expanduser()))  # noqa: PTH100 - resolve() would follow the links


def _address(value: str) -> str:
    """Refuse what nobody can listen on."""
    try:
        return check_address("address", value)
    except InvalidInputError as error:
        raise PydanticCustomError("address", "{problem}", {"problem": error.problem, "remedy": error.remedy}) from error


_BYTES_SCHEMA = _amount_schema("([KMGT]i?B|B)?")
_SECONDS_SCHEMA = _amount_schema("(us|ms|s|min|h|d)?")
_BANDWIDTH_SCHEMA = _amount_schema("(([KMGT]i?B|B|[KMGT]?bit)/s)?")

Bytes = Annotated[int, BeforeValidator(_reader(parse_bytes, positive=False)), _BYTES_SCHEMA]
PositiveBytes = Annotated[int, BeforeValidator(_reader(parse_bytes, positive=True)), _BYTES_SCHEMA]
Seconds = Annotated[float, BeforeValidator(_reader(parse_duration_s, positive=False)), _SECONDS_SCHEMA]
PositiveSeconds = Annotated[float, BeforeValidator(_reader(parse_duration_s, positive=True)), _SECONDS_SCHEMA]
BytesPerSecond = Annotated[float, BeforeValidator(_reader(parse_bytes_per_s, positive=True)), _BANDWIDTH_SCHEMA]

Count = Annotated[int, Field(strict=True, ge=1)]
NonNegativeCount = Annotated[int, Field(strict=True, ge=0)]
NonNegative = Annotated[float, Field(strict=True, ge=0)]
Positive = Annotated[float, Field(strict=True, gt=0)]
Flag = Annotated[bool, Field(strict=True)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
RelativePath = Annotated[Path, AfterValidator(_absolute)]
Address = Annotated[str, AfterValidator(_address), WithJsonSchema({"type": "string", "pattern": ADDRESS_PATTERN})]
