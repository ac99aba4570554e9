"""The canary corpus: a buyer's name in every encoding, planted in every place, is found in each of them.

The encoders are the standard library's, or written out here; the scanner's decoders are not used.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import html
import io
import json
import lzma
import quopri
import random
import tracemalloc
import unicodedata
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from sqlalchemy import text

from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.checks import leak_decoding, leak_files
from orders_pipeline.privacy.checks.contents import SLICE, SLICE_OVERLAP
from orders_pipeline.privacy.checks.leak_scan import scan_for_leaks
from orders_pipeline.privacy.checks.leak_scanner import HELD_VALUE
from orders_pipeline.privacy.checks.stored_values import StoredValues
from orders_pipeline.vault.access import Vault

NAME = "José Dvořák"
# What a log line or a request holds around it, with what each encoding must escape.
AROUND = f'{{"note": "deliver to: {NAME} & co", "n": 7}}'


def _each(value: str, shape: Callable[[int], str], *, as_bytes: bool = False) -> str:
    return "".join(map(shape, value.encode() if as_bytes else map(ord, value)))


def _zipped(value: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("note.txt", value)
    return made.getvalue()


def _base64_after(prefix: str) -> str:
    """The middle of a longer base64 text: where it begins, it is at another of the four places of a group."""
    whole = base64.b64encode(f"{prefix} ships to {NAME} today".encode()).decode()
    return f"id=/{whole[4:].rstrip('=')}"


def _wrapped(value: str) -> str:
    return base64.encodebytes(f"{'a long letter, ' * 8}{value}{', yours truly' * 8}".encode()).decode()


TEXTS: dict[str, str] = {
    "plain": NAME,
    "decomposed": unicodedata.normalize("NFD", NAME),
    "without accents, in capitals": "JOSE DVORAK",
    "full width, wrapped": "José\n    \uff24\uff56ořák",
    "soft hyphens and zero width": "Jo\u00adsé Dvo\u200břák",
    "percent": quote(AROUND),
    "percent, lower case": _each(NAME, lambda byte: f"%{byte:02x}", as_bytes=True),
    "percent, plus": quote_plus(AROUND),
    "percent, twice": quote(quote(AROUND)),
    "percent, thrice": quote(quote(quote(AROUND, safe=""), safe=""), safe=""),
    "percent, latin-1": quote("José Dvorak", encoding="latin-1"),
    "percent u": _each(NAME, lambda point: f"%u{point:04x}"),
    "bytes' repr": repr(AROUND.encode()),
    "hex escapes of letters": _each(NAME, lambda point: f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}"),
    "octal escapes": _each(NAME, lambda byte: f"\\{byte:03o}", as_bytes=True),
    "JSON": json.dumps(AROUND),
    "JSON in JSON in JSON": json.dumps(json.dumps(json.dumps(AROUND))),
    "JSON, all escaped": _each(NAME, lambda point: f"\\u{point:04x}"),
    "long escapes": _each(NAME, lambda point: f"\\U{point:08x}"),
    "braced escapes": _each(NAME, lambda point: f"\\u{{{point:x}}}"),
    "entities, named": "Jos&eacute; Dvo&rcaron;&aacute;k",
    "entities, decimal": _each(NAME, lambda point: f"&#{point};"),
    "entities, hexadecimal": _each(NAME, lambda point: f"&#x{point:X};"),
    "entities, twice": html.escape(_each(NAME, lambda point: f"&#{point};")),
    "entities in JSON": json.dumps({"html": "<b>Jos&eacute;</b> Dvo&rcaron;&aacute;k"}),
    "quoted-printable": quopri.encodestring(AROUND.encode(), quotetabs=True).decode(),
    "quoted-printable, wrapped": quopri.encodestring((" " * 60 + AROUND).encode()).decode(),
    "mail header, q": "=?utf-8?q?Jos=C3=A9_Dvo=C5=99=C3=A1k?=",
    "mail header, b": f"=?utf-8?b?{base64.b64encode(NAME.encode()).decode()}?=",
    "base64": base64.b64encode(AROUND.encode()).decode(),
    "base64, of the name alone": base64.b64encode(NAME.encode()).decode().rstrip("="),
    "base64, url-safe": base64.urlsafe_b64encode(f"??>> {NAME} ÿÿ>>".encode()).decode().rstrip("="),
    "base64, longer text, at 0": _base64_after("abc"),
    "base64, longer text, at 1": _base64_after("abcd"),
    "base64, longer text, at 2": _base64_after("abcde"),
    "base64, shifted by 1": f"x{base64.b64encode(AROUND.encode()).decode()}",
    "base64, shifted by 2": f"xy{base64.b64encode(AROUND.encode()).decode()}",
    "base64, shifted by 3": f"xyz{base64.b64encode(AROUND.encode()).decode()}",
    "base64, wrapped": _wrapped(NAME),
    "base64, wrapped, in JSON": json.dumps({"body": _wrapped(NAME)}),
    "base64, percent": quote(base64.b64encode(AROUND.encode()).decode(), safe=""),
    "base64, twice": base64.b64encode(base64.b64encode(AROUND.encode())).decode(),
    "base64 of gzip": base64.b64encode(gzip.compress(AROUND.encode(), mtime=0)).decode(),
    "base64 of zlib": base64.urlsafe_b64encode(zlib.compress(AROUND.encode())).decode(),
    "base64 of UTF-16": base64.b64encode(AROUND.encode("utf-16-le")).decode(),
    "base64 of JSON of percent": base64.b64encode(json.dumps(quote(AROUND)).encode()).decode(),
    "hexadecimal": AROUND.encode().hex(),
    "bytea": f"\\x{AROUND.encode().hex()}",
    "bytea of gzip": f"\\x{gzip.compress(AROUND.encode(), mtime=0).hex().upper()}",
    "gzip's repr": repr(gzip.compress(AROUND.encode(), mtime=0)),
    "UTF-8 read as latin-1": NAME.encode().decode("latin-1"),
    "UTF-8 read as cp1252": "JosÃ© DvoÅ™Ã¡k",
}  # fmt: skip
BYTES: dict[str, bytes] = {
    **{name: value.encode() for name, value in TEXTS.items()},
    "latin-1": "an José Dvorak, München".encode("latin-1"),
    "among other bytes": b"\x80\x04\x95\x00\xff\x8c\x0e" + NAME.encode() + b"\x94\x00\xfe",
    "UTF-16 LE": AROUND.encode("utf-16-le"),
    "UTF-16 BE": AROUND.encode("utf-16-be"),
    "UTF-16 with a mark, at an odd place": b"\x01" + AROUND.encode("utf-16"),
    "UTF-32 LE": AROUND.encode("utf-32-le"),
    "UTF-32 BE": AROUND.encode("utf-32-be"),
    "gzip": gzip.compress(AROUND.encode(), mtime=0),
    "gzip, after other bytes": b"\x00\x01a header" + gzip.compress(AROUND.encode(), mtime=0),
    "gzip, cut off": gzip.compress(AROUND.encode() + bytes(range(256)) * 40, mtime=0)[:-30],
    "gzip, two members": gzip.compress(b"nothing here") + gzip.compress(AROUND.encode(), mtime=0),
    "gzip of gzip": gzip.compress(gzip.compress(AROUND.encode(), mtime=0)),
    "gzip of base64 of percent": gzip.compress(base64.b64encode(quote(AROUND).encode())),
    "zlib": zlib.compress(AROUND.encode()),
    "zlib, strongest": zlib.compress(AROUND.encode(), 9),
    "bzip2": bz2.compress(AROUND.encode()),
    "xz": lzma.compress(AROUND.encode()),
    "zip": _zipped(AROUND),
}


@pytest.fixture
def held(vault: Vault) -> StoredValues:
    values = StoredValues(vault)
    values.add(NAME)
    return values


def _plant(database: Database, table: str, kind: str, corpus: dict[str, str] | dict[str, bytes]) -> None:
    """A column for each encoding, so that the place which is found names it."""
    columns = ", ".join(f'"{name}" {kind}' for name in corpus)
    with database.begin() as connection:
        connection.execute(text(f"create table {table} ({columns})"))
        places = ", ".join(f":v{number}" for number in range(len(corpus)))
        values = {f"v{number}": value for number, value in enumerate(corpus.values())}
        connection.execute(text(f"insert into {table} values ({places})"), values)


def _found(places: Iterator[tuple[str, str]], prefix: str) -> set[str]:
    return {where.removeprefix(prefix) for where, kind in places if where.startswith(prefix) and kind == HELD_VALUE}


def test_in_every_encoding_a_name_in_a_text_column_is_found(database: Database, held: StoredValues):
    _plant(database, "public.corpus", "text", TEXTS)
    scan = scan_for_leaks(database, held)
    assert set(TEXTS) - _found(iter(scan.found), "table public.corpus.") == set()


def test_in_every_encoding_a_name_in_a_bytea_column_is_found(database: Database, held: StoredValues):
    _plant(database, "public.corpus", "bytea", BYTES)
    scan = scan_for_leaks(database, held)
    assert set(BYTES) - _found(iter(scan.found), "table public.corpus.") == set()


def test_in_every_encoding_a_name_in_dagsters_storage_is_found(
    database: Database, held: StoredValues, dagster_url: str
):
    dagster = Database(dagster_url)
    # As Dagster keeps its snapshots: JSON, compressed; and its events: JSON.
    _plant(dagster, "public.packed", "bytea", {n: zlib.compress(json.dumps(v).encode()) for n, v in TEXTS.items()})
    _plant(dagster, "public.events", "text", {name: json.dumps({"message": value}) for name, value in TEXTS.items()})
    dagster.close()
    scan = scan_for_leaks(database, held, dagster_url=dagster_url)
    assert set(TEXTS) - _found(iter(scan.found), "dagster public.packed.") == set()
    assert set(TEXTS) - _found(iter(scan.found), "dagster public.events.") == set()


def test_in_every_encoding_a_name_in_a_file_is_found_also_across_two_pieces_of_it(
    database: Database, held: StoredValues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(leak_files, "CHUNK_BYTES", 1 << 15)
    monkeypatch.setattr(leak_files, "OVERLAP_BYTES", 1 << 12)
    for number, (name, content) in enumerate(BYTES.items()):
        (tmp_path / name).write_bytes(content)
        # Across the border between two chunks.
        filler = b"2026-11-20 all is well\n" * 2_000
        (tmp_path / f"{name}, far in").write_bytes(filler[: (1 << 15) - 10 - number] + b"\n" + content + b"\n" + filler)
    scan = scan_for_leaks(database, held, folders=[tmp_path])
    assert {*BYTES, *(f"{name}, far in" for name in BYTES)} - _found(iter(scan.found), "file ") == set()


def test_in_every_encoding_a_name_in_postgresqls_own_log_is_found(
    database: Database, held: StoredValues, tmp_path: Path
):
    server = tmp_path / "postgres"
    server.mkdir()
    (server / "PG_VERSION").write_text("18\n")
    (server / "base").write_bytes(NAME.encode())
    for name, value in TEXTS.items():
        statement = f"2026-11-24 10:31:57 UTC [311] LOG:  statement: insert into x values ('{value}')\n"
        (server / "log").write_text(statement, encoding="utf-8")
        scan = scan_for_leaks(database, held, folders=[tmp_path])
        assert _found(iter(scan.found), "file ") == {"postgres/log"}, name


def test_random_bytes_in_any_encoding_look_like_nobody(database: Database, held: StoredValues, tmp_path: Path):
    chance = random.Random(7)
    for word in ("Ada Lovelace-Byron", "+44 20 7946 0958", "Happy birthday to you, and many more"):
        held.add(word)
    blob = chance.randbytes(60_000)
    lines = "\n".join(f"{chance.getrandbits(256):064x} {uuid.UUID(int=chance.getrandbits(128))}" for _ in range(500))
    for name, content in {
        "bytes": blob, "base64": base64.b64encode(blob), "wrapped": base64.encodebytes(blob),
        "hex": blob.hex().encode(), "url-safe": base64.urlsafe_b64encode(blob), "gzip": gzip.compress(blob),
        "percent": quote(blob[:10_000]).encode(),
        "repr": repr(blob[:20_000]).encode(), "identifiers": lines.encode(), "wide": lines[:10_000].encode("utf-16"),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    scan = scan_for_leaks(database, held, folders=[tmp_path])
    assert (scan.places, scan.not_scanned) == ([], {})


def test_what_unpacks_without_end_is_cut_off_and_said_to_be(
    database: Database, held: StoredValues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(leak_decoding, "MOST_UNPACKED_BYTES", 1 << 18)
    monkeypatch.setattr(leak_decoding, "BLOCK_BYTES", 1 << 16)
    bomb = gzip.compress(bytes(16 << 20), 9)
    nested = gzip.compress(gzip.compress(gzip.compress(bytes(16 << 20), 9), 9), 9)
    assert len(bomb) < 20_000
    (tmp_path / "bomb.gz").write_bytes(bomb)
    (tmp_path / "nested.gz").write_bytes(nested)
    with database.begin() as connection:
        connection.execute(text("create table public.bombs (content bytea)"))
        connection.execute(text("insert into public.bombs values (:bomb)"), {"bomb": bomb})
    tracemalloc.start()
    scan = scan_for_leaks(database, held, folders=[tmp_path])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {where for where, why in scan.not_scanned if "unpacks to more than 256 KB" in why} == {
        "file bomb.gz", "file nested.gz", "table public.bombs.content",
    }  # fmt: skip
    assert peak < 8 << 20


def test_a_large_compressed_file_is_looked_through_to_its_end(
    database: Database, held: StoredValues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(leak_files, "CHUNK_BYTES", 1 << 14)
    chance = random.Random(3)
    log = b"".join(b"%x all is well\n" % chance.getrandbits(200) for _ in range(2_000))
    (tmp_path / "end.gz").write_bytes(gzip.compress(log) + gzip.compress(log + NAME.encode()))
    (tmp_path / "behind.gz").write_bytes(gzip.compress(log) + log + NAME.encode())
    (tmp_path / "cut.gz").write_bytes(gzip.compress(NAME.encode() + b"\n" + log)[:-20_000])
    (tmp_path / "only looks like one").write_bytes(b"x^2 + y^2\n" + log + NAME.encode())
    scan = scan_for_leaks(database, held, folders=[tmp_path])
    assert set(scan.found) == {
        (f"file {name}", HELD_VALUE) for name in ("end.gz", "behind.gz", "cut.gz", "only looks like one")
    }
    assert set(scan.not_scanned) == {("file cut.gz", "its compression is damaged or cut off")}


@pytest.mark.parametrize("at", [0, SLICE - 8, SLICE - SLICE_OVERLAP - 4, 3 * SLICE + 17, 10 * SLICE])
def test_a_name_anywhere_in_a_value_of_megabytes_is_found(database: Database, held: StoredValues, at: int):
    value = f"{'all is well, ' * (at // 13)}{' ' * (at % 13)}{NAME}{', all is well' * 9_000}"
    with database.begin() as connection:
        connection.execute(text('create table public.long ("a:b %s" text, packed bytea)'))
        packed = {"value": value, "packed": b"\0" + value.encode()}
        connection.execute(text("insert into public.long values ('', ''), (:value, :packed)"), packed)
    scan = scan_for_leaks(database, held)
    assert set(scan.found) == {
        ("table public.long.a:b %s", HELD_VALUE), ("table public.long.packed", HELD_VALUE),
    }  # fmt: skip
