"""How a promise's check ends where it does not simply pass."""

from __future__ import annotations


class NotPossible(Exception):
    """This warehouse, its worker or its adapter has no such thing; the text says what is missing."""


class Broken(Exception):
    """The promise does not hold; the text says what was seen. It names no buyer: the buyers here are made up."""


def expect(condition: object, otherwise: str) -> None:
    """Raises Broken with what was seen instead, unless the condition is true."""
    if not condition:
        raise Broken(otherwise)
