"""Settings that are checked together: each is declared once, with the variable that names it, its type and its rule.

A validator raises ValueError with the rest of a sentence that begins with the variable's name, and no secret in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from orders_pipeline.http.hosts import has_one_reading, is_loopback
from orders_pipeline.in_transit import TWO_READINGS


class Group(BaseModel):
    """Frozen. Made from the values of variables (`read`), or by the names of its fields."""

    model_config = ConfigDict(
        frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True, validate_by_name=True, extra="ignore"
    )

    @classmethod
    def read(cls, values: Mapping[str, str], problems: list[str]) -> Self | None:
        """None while one of them is missing or wrong. Each that is wrong is appended to `problems`."""
        try:
            return cls.model_validate(values, by_name=False)
        except ValidationError as error:
            problems += _sentences(error)
            return None

    @classmethod
    def read_what_is_right(cls, values: Mapping[str, str], problems: list[str]) -> Self:
        """With the default of each that is wrong, and a problem. For groups without a required variable."""
        try:
            return cls.model_validate(values, by_name=False)
        except ValidationError as error:
            problems += _sentences(error)
            wrong = {details["loc"][0] for details in error.errors(include_input=False, include_url=False)}
            return cls.model_validate(
                {name: value for name, value in values.items() if name not in wrong}, by_name=False
            )


def required_variables(group: type[Group]) -> tuple[str, ...]:
    return tuple(variable_of(field) for field in group.model_fields.values() if field.is_required())


def secret_variables(group: type[Group]) -> tuple[str, ...]:
    return tuple(variable_of(field) for field in group.model_fields.values() if _is_secret(field.annotation))


def variable_of(field: FieldInfo) -> str:
    assert isinstance(field.validation_alias, str)
    return field.validation_alias


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in get_args(annotation))


def _sentences(error: ValidationError) -> list[str]:
    """What is wrong, without what is missing: that is one sentence for all groups."""
    sentences: list[str] = []
    for details in error.errors(include_url=False):
        name, context = details["loc"][0], details.get("ctx", {})
        if details["type"] == "literal_error":
            sentences.append(f"{name} is {details['input']!r}: use {context['expected'].replace(chr(39), '')}")
        elif details["type"] == "value_error":
            sentences.append(f"{name} {context['error']}")
        elif details["type"] not in ("missing", "default_factory_not_called"):
            # Without the input, which could be a secret.
            sentences.append(f"{name}: {details['msg']}")
    return sentences


# --- types of values


def _parts(given: Any) -> Any:
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given


def check_url(url: str) -> str:
    """The URL. Raises ValueError unless it has one reading and is https, or http on loopback."""
    if not has_one_reading(url):
        raise ValueError(TWO_READINGS)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http(s) URL")
    if parts.scheme == "http" and not is_loopback(url):
        raise ValueError("must be https (http is accepted on loopback only)")
    return url


def _check_secret_url(url: SecretStr) -> SecretStr:
    check_url(url.get_secret_value())
    return url


# With commas between them.
Parts = Annotated[tuple[str, ...], BeforeValidator(_parts)]
# Of an API: paths are appended to it.
BaseUrl = Annotated[str, AfterValidator(check_url), AfterValidator(lambda url: url.rstrip("/"))]
# Whoever knows it may use it.
SecretUrl = Annotated[SecretStr, AfterValidator(_check_secret_url)]
File = Annotated[Path, AfterValidator(lambda path: path.expanduser())]
