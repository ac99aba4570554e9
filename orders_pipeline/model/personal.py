"""Text about a buyer that shows itself only when asked by name."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

MASK = "•••"


class PersonalText:
    """A name, street, phone or message of a buyer: repr, str, format, JSON and pickle all show a mask.

    `plain()` is the one way to the text; a search for its name lists every place that reads a buyer's data.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def plain(self) -> str:
        """The text itself. Never pass the result to a log, an exception, metadata or a file."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._text.strip())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PersonalText) and other._text == self._text

    def __hash__(self) -> int:
        return hash((PersonalText, self._text))

    def __reduce__(self) -> tuple[type[PersonalText], tuple[str]]:
        return PersonalText, (MASK,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(str(value)),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: MASK),
        )
