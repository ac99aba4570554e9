"""A report's file is read line by line, by the names of its columns, and what is not that file is refused."""

from __future__ import annotations

import gzip
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.model.report import ReportDocument
from orders_pipeline.reports.document import MOST_BROKEN_LINES, Chunk, Columns, ReportUnreadable, as_texts, read_chunks

COLUMNS = Columns("id", frozenset({"id", "status"}), frozenset({"channel"}))
HEADER = "id\tstatus\tproduct-name\tchannel\tship-city"


def document(text: str, charset: str = "utf-8", *, is_gzip: bool = False) -> ReportDocument:
    content = text.encode(charset)
    return ReportDocument(gzip.compress(content) if is_gzip else content, charset, is_gzip)


def lines(*rows: str, header: str = HEADER, end: str = "\r\n") -> str:
    return "".join(f"{row}{end}" for row in (header, *rows))


def chunks(given: ReportDocument, rows: int = 5_000) -> list[Chunk]:
    return list(read_chunks(given, COLUMNS, rows=rows))


def values(given: ReportDocument) -> list[dict[str, str]]:
    return [row for chunk in chunks(given) for row in as_texts(chunk.rows)]


@pytest.mark.parametrize("is_gzip", [True, False])
@pytest.mark.parametrize("charset", ["cp1252", "cp932", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_quote_in_a_title_is_a_letter_like_any_other(is_gzip: bool, charset: str, end: str) -> None:
    text = lines('1\tShipped\tA 15" frame\tAmazon.com\tX', '2\t\t"\tAmazon.de\tY', "3\tNA\tnull\t\t", end=end)
    read = values(ReportDocument(gzip.compress(text.encode(charset)) if is_gzip else text.encode(charset),
                                 charset.removesuffix("-sig"), is_gzip))  # fmt: skip
    assert read == [
        {"id": "1", "status": "Shipped", "channel": "Amazon.com"},
        {"id": "2", "status": "", "channel": "Amazon.de"},
        {"id": "3", "status": "NA", "channel": ""},
    ]


def test_nothing_but_the_named_columns_is_taken() -> None:
    [chunk] = chunks(document(lines("1\tShipped\tWidget\tAmazon.com\tSecretville")))
    assert list(chunk.rows.columns) == ["id", "status", "channel"]
    assert "Secretville" not in chunk.rows.to_string()


def test_columns_are_found_by_name_whatever_their_order_case_or_company() -> None:
    text = lines("x\tShipped\t1\ty", header="cpf\tStatus \tID\tnew-column")
    assert values(document(text)) == [{"status": "Shipped", "id": "1"}]


@pytest.mark.parametrize(
    "text,says",
    [
        (lines("1\tx", header="id\tproduct-name"), "no column status"),
        ("<html><body>It works!</body></html>", "no column id, status"),
        ('{"errorDetails": "no"}', "no column id, status"),
        ("", "no column id, status"),
        (lines("1\ta\tb", header="id\tstatus\tStatus"), "twice the column status"),
        (lines(*(["1\ta"] * (MOST_BROKEN_LINES + 1))), "another number of fields"),
        (HEADER + "\r\n" + "x" * 3_000_000, "more than"),
    ],
)
def test_what_is_not_that_file_is_refused_without_being_repeated(text: str, says: str) -> None:
    with pytest.raises(ReportUnreadable, match=says) as refused:
        chunks(document(text))
    assert "It works" not in str(refused.value)


def test_a_gzip_that_is_cut_off_or_damaged_is_refused() -> None:
    whole = document(lines(*(f"{n}\tShipped\tWidget {n}\t\t" for n in range(30_000))), is_gzip=True)
    for content in (whole.content[:-9], whole.content[: len(whole.content) // 2], whole.content[:100] + b"\0" * 100):
        with pytest.raises(ReportUnreadable, match="cut off or damaged"):
            chunks(ReportDocument(content, "utf-8", is_gzip=True))


def test_a_header_without_lines_has_no_rows() -> None:
    [chunk] = chunks(document(lines()))
    assert (len(chunk.rows), chunk.broken) == (0, ())


def test_broken_lines_far_within_the_file_are_counted_too() -> None:
    rows = [f"{n}\tShipped\tWidget {n}\t\t" for n in range(30_000)]
    rows[20_000:20_000] = ["x"] * (MOST_BROKEN_LINES + 1)
    with pytest.raises(ReportUnreadable, match="another number of fields"):
        chunks(document(lines(*rows)))


def test_a_line_with_a_tab_too_many_is_set_aside_by_its_key_and_the_others_are_read() -> None:
    [chunk] = chunks(document(lines("1\tShipped\tA\tb\tc\td", "2\tShipped\tA\t\t", "3")))
    assert list(chunk.rows["id"]) == ["2"]
    assert [(one.key, one.problem) for one in chunk.broken] == [
        ("1", "it has 6 fields instead of 5"),
        ("3", "it has 1 fields instead of 5"),
    ]


def test_a_wrong_charset_spoils_only_the_rows_whose_taken_values_it_spoils() -> None:
    text = lines("1\tShipped\tCafé\t\tKöln", "2\tGelöscht\tWidget\t\t", "3\tShipped\tWidget\t\t")
    read = chunks(ReportDocument(text.encode("cp1252"), "utf-8", is_gzip=False))
    assert [row for chunk in read for row in chunk.rows["id"]] == ["1", "3"]
    assert [line.key for chunk in read for line in chunk.broken] == ["2"]


@given(keys=st.lists(st.integers(1, 6), min_size=1, max_size=30), size=st.integers(1, 5))
def test_rows_of_one_key_are_never_parted_and_none_is_lost(keys: list[int], size: int) -> None:
    text = lines(*(f"{key}\t{place}\t\t\t" for place, key in enumerate(keys)))
    read = chunks(document(text), rows=size)
    assert [row for chunk in read for row in chunk.rows["status"]] == [str(place) for place in range(len(keys))]
    for before, after in pairwise(read):
        assert before.rows["id"].iloc[-1] != after.rows["id"].iloc[0]


def test_a_large_document_is_never_unpacked_whole() -> None:
    row = "1234567\tShipped\t" + "Widget of the best kind, in blue" * 6 + "\tAmazon.com\tX"
    large = document(lines(*(row.replace("1234567", str(n)) for n in range(100_000))), is_gzip=True)
    chunks(document(lines("1\tShipped\t\t\t")))  # pandas is imported
    tracemalloc.start()
    try:
        count = sum(len(chunk.rows) for chunk in read_chunks(large, COLUMNS))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 12_000_000, "the text has 24 MB"
