"""What may be asked by GET, and what JSON is: anything that is not plainly harmless is refused."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest

from orders_pipeline.web.graphql_requests import document_of, is_get_of_plain_query, is_json, is_plain_query


@pytest.mark.parametrize(
    "document", ["{version}", "query Q($a: Int){a:version} query R{...f} fragment f on Query{version}"]
)
def test_queries_may_be_asked_by_get(document: str):
    assert is_plain_query(document)
    assert is_get_of_plain_query(urlencode({"query": document, "operationName": "Q"}).encode())


@pytest.mark.parametrize(
    "document",
    [
        "mutation{launchRun{__typename}}",
        "mutation{version:launchRun{__typename}}",  # an alias
        "query Q{version} mutation M{launchRun{__typename}}",  # chosen by operationName
        "mutation M{...f} fragment f on Mutation{launchRun{__typename}}",
        "subscription{pipelineRunLogs}",
        "#query\nmutation{x}",
        "\ufeffmutation{x}",
        "{",
        "",
        "fragment f on Query{version}",
        "{a" * 3000 + "}" * 3000,
        "{" + "a " * 40_000 + "}",
    ],
)
def test_everything_else_may_not(document: str):
    assert not is_plain_query(document)
    assert not is_get_of_plain_query(urlencode({"query": document, "operationName": "Q"}).encode())


@pytest.mark.parametrize(
    "query_string",
    [
        "",
        "query={version}&query=mutation{x}",  # each reader takes another one
        "query={version}&extensions={}",  # a stored document
        "id=stored",
        "operations=[]&map={}",
        "query=" + quote("{version}") + "%26query=mutation{x}",
        "query=\xff",
    ],
)
def test_a_get_with_anything_beside_one_query_is_refused(query_string: str):
    assert not is_get_of_plain_query(query_string.encode("latin-1"))


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_json(content_type: str):
    assert is_json(content_type)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "text/plain;application/json", "text/plain, application/json", "application/graphql",
     "application/x-www-form-urlencoded", "multipart/form-data; boundary=application/json", "application/json-patch",
     "application/jsonx"],
)  # fmt: skip
def test_what_a_form_can_send_is_not_json(content_type: str):
    assert not is_json(content_type)


def test_a_body_is_one_object_with_one_query():
    assert document_of(b'{"query": "{version}"}') == "{version}"
    batch = json.dumps([{"query": "{version}"}]).encode()
    for body in (batch, b"", b"null", b'{"query": 1}', b'{"queries": "{version}"}', b"\xff", b"[" * 100_000):
        assert document_of(body) is None
