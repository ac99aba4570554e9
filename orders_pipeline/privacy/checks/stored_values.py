"""The values that the vault holds, as keyed hashes: to look for them elsewhere without having them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.checks.leak_shapes import MOST_WORDS, identifying_words, is_identifying
from orders_pipeline.privacy.checks.rows import newest_records
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import VaultError, VaultRecordMissing
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS

# Bounds the memory: some twelve hashes a record, a hundred bytes each.
RECORDS_AT_MOST = 20_000
PAGE = 500
# Everybody's country and kind of address.
_IDENTIFIES_NOBODY = frozenset({"country_code", "address_type", "state_or_region", "city", "district"})


@dataclass(slots=True)
class StoredValues:
    """Keyed hashes of the values of some records. Holds no value and no word of one."""

    vault: Vault = field(repr=False)
    fingerprints: set[str] = field(default_factory=set[str], repr=False)
    # Python's own hash, keyed for this process only: asked first, since it costs a thousandth.
    quick: set[int] = field(default_factory=set[int], repr=False)
    # Of the first word of each: most words of a text begin nothing.
    beginnings: set[int] = field(default_factory=set[int], repr=False)
    records: int = 0
    unreadable: int = 0

    def add(self, value: str) -> None:
        for words in identifying_words(value):
            self.quick.add(hash(words))
            self.beginnings.add(hash(words.split(" ", 1)[0]))
            self.fingerprints.add(self.vault.fingerprint(words.encode()))

    def holds_any_of(self, words: list[str]) -> bool:
        """Whether some words in a row are one of the values."""
        quick, beginnings = self.quick, self.beginnings
        for start, first in enumerate(words):
            if hash(first) not in beginnings:
                continue
            joined = first
            if hash(joined) in quick and is_identifying(joined) and self._is_held(joined):
                return True
            for other in words[start + 1 : start + MOST_WORDS]:
                joined = f"{joined} {other}"
                if hash(joined) in quick and self._is_held(joined):
                    return True
        return False

    def _is_held(self, words: str) -> bool:
        return self.vault.fingerprint(words.encode()) in self.fingerprints


def hash_stored_values(
    database: Database, vault: Vault, *, account_id: str, since: datetime, limit: int = RECORDS_AT_MOST
) -> StoredValues:
    """Hash what was stored since then, newest first. Each order's audit entry is committed before it is opened."""
    held = StoredValues(vault)
    vault.prepare()
    with database.transaction(account_id) as tx:
        order_ids = newest_records(tx, SHIPPING_DETAILS, since=since, limit=limit)
    for start in range(0, len(order_ids), PAGE):
        revealed = vault.reveal_many(
            account_id=account_id, kind=SHIPPING_DETAILS, subject_ids=order_ids[start : start + PAGE],
            purpose="scan for copies in clear", action="hash_values",
        )  # fmt: skip
        for _, content in revealed:
            if isinstance(content, VaultRecordMissing):
                continue  # shredded since the list was made
            held.records += 1
            try:
                if isinstance(content, VaultError):
                    raise content
                for value in _texts(json.loads(content)):
                    held.add(value)
            except (VaultError, ValueError):
                # The check every_record_opens says which; the error's text could hold what was read.
                held.unreadable += 1
    return held


def _texts(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for name, value in document.items():
            if name not in _IDENTIFIES_NOBODY:
                yield from _texts(value)
