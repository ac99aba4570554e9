"""Read a report's file: tab-separated lines, nothing quoted, columns found by their names; a chunk of rows at a time.

Only the columns that a reader names are taken out of it. A line is never repeated in an error or a log: it may hold a
buyer's city.
"""

from __future__ import annotations

import codecs
import csv
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from orders_pipeline.http.replies import unzipped
from orders_pipeline.model.report import ReportDocument

if TYPE_CHECKING:
    import pandas as pd

ROWS_A_CHUNK = 5_000
# A month of five thousand orders a day is some hundred megabytes of text.
LONGEST_TEXT_CHARACTERS = 1024 * 1024 * 1024
LONGEST_LINE_CHARACTERS = 1024 * 1024
# Single lines may have a tab in a title; a file that has more of them is another file than we think.
MOST_BROKEN_LINES = 100
_PIECE_BYTES = 256 * 1024
_REPLACED = "\ufffd"


class ReportUnreadable(Exception):
    """The document is not the file that was asked for, or is damaged. Names what is wrong, repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What a reader takes: Amazon's names in lower case. `key`: lines of one key that follow each other belong
    together, and are in one chunk."""

    key: str
    required: frozenset[str]
    optional: frozenset[str] = frozenset()

    @property
    def taken(self) -> frozenset[str]:
        return self.required | self.optional | {self.key}


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that is not read. `key` is what stands where the key should be; `problem` holds nothing of the line."""

    key: str
    problem: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows, every value a text ("" where there is none), and the lines between them that could not be read."""

    rows: pd.DataFrame
    broken: tuple[BrokenLine, ...]


def as_texts(rows: pd.DataFrame) -> list[dict[str, str]]:
    """Each row as its values by their columns."""
    return cast("list[dict[str, str]]", rows.to_dict("records"))


def read_chunks(document: ReportDocument, columns: Columns, *, rows: int = ROWS_A_CHUNK) -> Iterator[Chunk]:
    """The document's rows in its order. Raises ReportUnreadable."""
    import pandas as pd

    lines = _lines(_text(document))
    header = next(lines, "")
    names = [re.sub(r"[\s_]+", "-", name.strip().lower()) for name in header.split("\t")]
    # Columns that Amazon adds do no harm; one that is there twice could be either.
    twice = sorted(name for name in columns.taken if names.count(name) > 1)
    missing = sorted((columns.required | {columns.key}) - set(names))
    if missing or twice:
        what = f"it has no column {', '.join(missing)}" if missing else f"it has twice the column {', '.join(twice)}"
        raise ReportUnreadable(f"the document is not of the expected form: {what}")
    places = [place for place, name in enumerate(names) if name in columns.taken]
    whole = _WholeLines(lines, fields=len(names), key=names.index(columns.key))
    if not whole.has_more():
        yield Chunk(pd.DataFrame(columns=[names[place] for place in places], dtype=str), whole.take_broken())
        return
    reader = pd.read_csv(
        cast("Any", whole),
        sep="\t",
        header=None,
        names=[names[place] for place in places],
        usecols=places,
        index_col=False,
        dtype=str,
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
        lineterminator="\n",
        chunksize=rows,
    )
    begun: pd.DataFrame | None = None
    for frame in _frames(reader):
        joined = frame if begun is None else pd.concat([begun, frame], ignore_index=True)
        keys = joined[columns.key]
        other = (keys != keys.iloc[-1]).to_numpy().nonzero()[0]
        end = int(other[-1]) + 1 if len(other) else 0
        begun = joined.iloc[end:]
        if end:
            yield _readable(joined.iloc[:end], columns.key, whole.take_broken())
    if begun is not None:
        yield _readable(begun, columns.key, whole.take_broken())


def _frames(reader: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    import pandas as pd

    try:
        yield from reader
    except pd.errors.ParserError:
        # Without its text, which may hold a line.
        raise ReportUnreadable("the document's lines cannot be taken apart") from None


def _readable(frame: pd.DataFrame, key: str, broken: tuple[BrokenLine, ...]) -> Chunk:
    """Without the rows in whose values a character was not of the charset that the document claims."""
    import pandas as pd

    damaged = pd.Series(data=False, index=frame.index)
    for name in frame.columns:
        damaged |= frame[name].str.contains(_REPLACED, regex=False)
    if not damaged.any():
        return Chunk(frame, broken)
    more = [BrokenLine(str(one), "it is not in the charset that the document claims") for one in frame[key][damaged]]
    return Chunk(frame[~damaged], (*broken, *more))


class _WholeLines:
    """The lines of as many fields as the header has, as pandas reads a file; the others are kept aside."""

    def __init__(self, lines: Iterator[str], *, fields: int, key: int) -> None:
        self._lines = lines
        self._fields = fields
        self._key = key
        self._next = ""
        self._broken: list[BrokenLine] = []
        self._broken_in_all = 0

    def has_more(self) -> bool:
        self._next = self._next or self._more()
        return bool(self._next)

    def read(self, _size: int = -1) -> str:
        """Some whole lines; "" at the end."""
        given, self._next = self._next or self._more(), ""
        return given

    def __iter__(self) -> Iterator[str]:
        return iter(self.read, "")

    def take_broken(self) -> tuple[BrokenLine, ...]:
        taken, self._broken = tuple(self._broken), []
        return taken

    def _more(self) -> str:
        good: list[str] = []
        size = 0
        for line in self._lines:
            if not line:
                continue
            if line.count("\t") + 1 == self._fields:
                good.append(line)
                size += len(line)
                if size >= _PIECE_BYTES:
                    break
            else:
                self._set_aside(line.split("\t"))
        return "".join(f"{line}\n" for line in good)

    def _set_aside(self, fields: Sequence[str]) -> None:
        self._broken_in_all += 1
        if self._broken_in_all > MOST_BROKEN_LINES:
            raise ReportUnreadable(
                f"more than {MOST_BROKEN_LINES} lines of the document have another number of fields than its header"
            )
        key = fields[self._key] if self._key < len(fields) else ""
        self._broken.append(BrokenLine(key, f"it has {len(fields)} fields instead of {self._fields}"))


def _text(document: ReportDocument) -> Iterator[str]:
    """The document's text in pieces, without a byte order mark."""
    # What is wanted of a document is ASCII almost always; a letter of a title in another charset does not spoil it.
    decoder = codecs.getincrementaldecoder(document.charset)("replace")
    begun = False
    length = 0
    for piece in _bytes(document):
        decoded = decoder.decode(piece)
        if not begun and decoded:
            decoded, begun = decoded.removeprefix("\ufeff"), True
        length += len(decoded)
        if length > LONGEST_TEXT_CHARACTERS:
            raise ReportUnreadable(f"the document has more than {LONGEST_TEXT_CHARACTERS:,} characters")
        yield decoded
    yield decoder.decode(b"", final=True)


def _bytes(document: ReportDocument) -> Iterator[bytes]:
    content = memoryview(document.content)
    pieces: Iterable[bytes] = (
        bytes(content[start : start + _PIECE_BYTES]) for start in range(0, len(content), _PIECE_BYTES)
    )
    try:
        yield from unzipped(pieces) if document.is_gzip else pieces
    except zlib.error:
        raise ReportUnreadable("the document's gzip is cut off or damaged") from None


def _lines(text: Iterator[str]) -> Iterator[str]:
    """Its lines without their ends. Only a line feed ends one: a title may hold other separators."""
    rest = ""
    for piece in text:
        *lines, rest = (rest + piece).split("\n")
        for line in lines:
            yield line.removesuffix("\r")
        if len(rest) > LONGEST_LINE_CHARACTERS:
            raise ReportUnreadable(f"a line of the document has more than {LONGEST_LINE_CHARACTERS:,} characters")
    if rest:
        yield rest.removesuffix("\r")
