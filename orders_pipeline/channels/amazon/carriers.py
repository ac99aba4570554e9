"""From the warehouse's words for a carrier to Amazon's exact code.

Amazon compares codes letter for letter: another case is answered with 204, and the package never appears (models issue
5232). On the warehouse's side case, spaces, accents and punctuation do not count.

| found | sent | known | needs correction |
| --- | --- | --- | --- |
| in a table | its code and method | yes | no |
| nowhere | Other and the carrier's name | no | no |
| nowhere, and the marketplace refuses Other | nothing | no | yes |
"""

from __future__ import annotations

import codecs
import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from orders_pipeline.model.marketplaces import MARKETPLACES
from orders_pipeline.model.untrusted_text import LONGEST_TEXT, is_bounded

OTHER = "Other"
# India took it away in 2021.
REFUSING_OTHER = frozenset({"A21TJRUUN4KGV"})
TABLE_FILE = "carriers.csv"
COLUMNS = ("carrier", "service", "country", "code", "method")
ANY = "*"
LARGEST_FILE_BYTES = 1024 * 1024
_SEPARATORS = (",", ";", "\t")
# Excel's own first line, which says what separates the columns.
_EXCELS_OWN_LINE = re.compile(r"sep=.", re.IGNORECASE)


class CarrierTableError(Exception):
    """The user's carrier table cannot be read; the message names the line and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class CarrierChoice:
    """What to tell Amazon. `needs_correction`: nothing, until the carrier is mapped. `reason`: why, for an alert."""

    code: str
    name: str | None
    shipping_method: str | None
    known: bool
    needs_correction: bool
    reason: str


@dataclass(frozen=True, slots=True)
class CarrierRow:
    """One line of a table: a carrier (and perhaps a service, or a country) and what Amazon calls it."""

    carrier: str
    service: str
    country: str
    code: str
    method: str | None


@dataclass(frozen=True, slots=True)
class CarrierTable:
    """Rows by normalised carrier, service and country."""

    rows: Mapping[tuple[str, str, str], CarrierRow] = field(default_factory=dict[tuple[str, str, str], CarrierRow])

    def find(self, carrier: str, service: str, country: str) -> CarrierRow | None:
        """The most particular row: this service before any, this country before any."""
        for key in ((carrier, service, country), (carrier, service, ANY), (carrier, ANY, country), (carrier, ANY, ANY)):
            row = self.rows.get(key)
            if row is not None:
                return row
        return None


def resolve_carrier(
    carrier: str | None, service: str | None, marketplace_id: str, overrides: CarrierTable | None = None
) -> CarrierChoice:
    """What to tell Amazon about a parcel that the warehouse says travels with this carrier and service."""
    name, method = (carrier or "").strip(), (service or "").strip() or None
    marketplace = MARKETPLACES.get(marketplace_id)
    key = (_normalised(name), _normalised(method or ""), marketplace.country_code if marketplace else ANY)
    for table in (overrides or CarrierTable(), shipped_table()):
        row = table.find(*key) if key[0] else None
        if row is not None:
            return _chosen(row, name, method, marketplace_id)
    if not name:
        return CarrierChoice(OTHER, None, method, False, True, "the warehouse named no carrier: set it there")
    if refuses_other(marketplace_id):
        reason = (
            f"the carrier {name!r} is in no table, and this marketplace refuses {OTHER!r}: add it to {TABLE_FILE} in "
            "the data folder"
        )
        return CarrierChoice(OTHER, name, method, False, True, reason)
    reason = (
        f"the carrier {name!r} is in no table and was sent as {OTHER!r}, which earns no valid-tracking credit: add it "
        f"to {TABLE_FILE} in the data folder"
    )
    return CarrierChoice(OTHER, name, method, False, False, reason)


def refuses_other(marketplace_id: str) -> bool:
    """Whether this marketplace takes no `Other`."""
    return marketplace_id in REFUSING_OTHER


def read_overrides(data_dir: Path) -> str | None:
    """The text of the user's own table; None if there is none. Raises CarrierTableError for what is no text."""
    path = data_dir / TABLE_FILE
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CarrierTableError(f"{path} cannot be read ({type(error).__name__}): look at its rights.") from error
    if len(raw) > LARGEST_FILE_BYTES:
        raise CarrierTableError(f"{path} is larger than {LARGEST_FILE_BYTES // 1024} KB: it is no carrier table.")
    if (nul := raw.find(0)) >= 0 and not raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # The store takes none, and it is a sign of a file that was not written whole.
        line = raw.count(b"\n", 0, nul) + 1
        raise CarrierTableError(f"{path}, line {line}: a NUL character. Save the file anew, as UTF-8 text.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Which other encoding it is can only be guessed, and a wrong guess is a carrier that nobody knows.
        line = raw.count(b"\n", 0, error.start) + 1
        raise CarrierTableError(f"{path}, line {line}: not UTF-8. Save it as UTF-8 (in Excel: 'CSV UTF-8').") from error


def read_override_table(text: str, data_dir: Path) -> CarrierTable:
    """The user's own table from its text. Raises CarrierTableError naming line and column."""
    return read_table(text.splitlines(), str(data_dir / TABLE_FILE))


@cache
def shipped_table() -> CarrierTable:
    """The table that comes with this release."""
    return read_table(
        (files("orders_pipeline.channels.amazon") / TABLE_FILE).read_text(encoding="utf-8").splitlines(), TABLE_FILE
    )


def read_table(lines: Iterable[str], where: str) -> CarrierTable:
    """Read a table: the columns of COLUMNS, `#` for a comment, `*` or nothing for any service or country.

    Separated by commas, by semicolons (Excel, where the comma is the decimal sign) or by tabs.
    """
    numbered = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#") and not _EXCELS_OWN_LINE.fullmatch(line.strip())
    ]
    if not numbered:
        raise CarrierTableError(
            f"{where} is empty: give at least the line {','.join(COLUMNS)}. That line alone means that there are no "
            "carriers of your own."
        )
    first, header = numbered[0]
    separator = next((one for one in _SEPARATORS if _columns(header, one, where, first) == COLUMNS), None)
    if separator is None:
        raise CarrierTableError(f"{where}, line {first}: the columns must be {','.join(COLUMNS)}.")
    rows: dict[tuple[str, str, str], CarrierRow] = {}
    for number, line in numbered[1:]:
        row = _row(_cells(line, separator, where, number), where, number)
        service = ANY if row.service == ANY else _normalised(row.service)
        key = (_normalised(row.carrier), service, row.country)
        if key in rows:
            raise CarrierTableError(
                f"{where}, line {number}: {row.carrier!r} is there already; keep one of the two lines."
            )
        rows[key] = row
    return CarrierTable(rows)


def _columns(line: str, separator: str, where: str, number: int) -> tuple[str, ...]:
    return tuple(column.lower() for column in _cells(line, separator, where, number))


def _cells(line: str, separator: str, where: str, number: int) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
    except csv.Error as error:
        raise CarrierTableError(f"{where}, line {number} cannot be read ({error}).") from error


def _row(cells: list[str], where: str, number: int) -> CarrierRow:
    if len(cells) != len(COLUMNS):
        raise CarrierTableError(
            f"{where}, line {number} has {len(cells)} columns; give {len(COLUMNS)}: {','.join(COLUMNS)}."
        )
    for column, cell in zip(COLUMNS, cells, strict=True):
        if column in ("carrier", "code") and not cell:
            raise CarrierTableError(f"{where}, line {number}: the column {column} must not be empty.")
        if not is_bounded(cell):
            raise CarrierTableError(
                f"{where}, line {number}: the column {column} is longer than {LONGEST_TEXT} characters, or holds "
                "characters that cannot be seen."
            )
    return CarrierRow(cells[0], cells[1] or ANY, cells[2].upper() or ANY, cells[3], cells[4] or None)


def _chosen(row: CarrierRow, name: str, service: str | None, marketplace_id: str) -> CarrierChoice:
    method = row.method or service
    if row.code != OTHER:
        return CarrierChoice(row.code, None, method, True, False, "")
    held = refuses_other(marketplace_id)
    reason = f"{name!r} is mapped to {OTHER!r}, which this marketplace refuses" if held else ""
    return CarrierChoice(OTHER, name, method, not held, held, reason)


def _normalised(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if character.isalnum())
