"""Metrics as values: what each is called, what it counts, and its samples. How they are written is the web's part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

Database = Literal["orders", "dagster"]
# Of words that are Amazon's or somebody else's and that we do not know, so many are told by name.
NEW_WORDS = 10
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric, by the name that a query finds it by; a histogram's are this with `_bucket`, `_count` and `_sum`.

    Every label's values are bounded.
    """

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; of a histogram the sum of the seconds, and its buckets: (upper bound, how many up to it)."""

    family: Family
    labels: tuple[str, ...]
    value: float
    buckets: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics that are read together, and fail together.

    `fresh_seconds`: for so long what was read is shown again. `as_reader`: whether the reader's role may read it.
    """

    name: str
    families: tuple[Family, ...]
    read: Callable[[Connection, Sequence[str]], Iterable[Sample]]
    database: Database = "orders"
    fresh_seconds: float = 0.0
    as_reader: bool = True


def bounded(word: str | None, known: Collection[str], new: Collection[str]) -> str:
    """The word where it may be a label's value; else `other`. `new`: what `new_words` made of all that are there."""
    return word if word is not None and (word in known or word in new) else OTHER


def new_words(words: Iterable[str | None], known: Collection[str]) -> frozenset[str]:
    """The first NEW_WORDS, by the alphabet, of the words that we do not know."""
    return frozenset(sorted({word for word in words if word is not None and word not in known})[:NEW_WORDS])


def summed(samples: Iterable[Sample]) -> list[Sample]:
    """One sample for each set of labels: what became `other` is added up; of ages the greatest stays."""
    added: Counter[tuple[Family, tuple[str, ...]]] = Counter()
    greatest: dict[tuple[Family, tuple[str, ...]], float] = {}
    for sample in samples:
        key = sample.family, sample.labels
        added[key] += sample.value  # pyright: ignore[reportArgumentType]
        greatest[key] = max(greatest.get(key, sample.value), sample.value)
    return [
        Sample(family, labels, greatest[family, labels] if family.name.endswith("_seconds") else value)
        for (family, labels), value in added.items()
    ]
