"""What a GraphQL request would do, read before anything of it is executed."""

from __future__ import annotations

import json
from email.message import Message
from functools import lru_cache
from typing import cast
from urllib.parse import parse_qsl

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

# The UI's largest launch, a run configuration included, is some hundred kilobytes.
BODY_BYTES = 2_000_000
# Queries of the UI are all smaller, and are asked over and over.
_REMEMBERED_CHARACTERS = 50_000
# The UI's largest query has some thousand; reading a token costs microseconds that everybody else waits for.
_TOKENS = 30_000


def is_plain_query(text: str) -> bool:
    """Whether a document holds queries and nothing else, whichever of its operations is then selected."""
    if len(text) <= _REMEMBERED_CHARACTERS:
        return _remembered(text)
    return _only_queries(text)


def is_get_of_plain_query(query_string: bytes) -> bool:
    """Whether a GET asks for exactly one document that is a plain query. Nothing that cannot be read is one."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return False
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names) or not set(names) <= {"query", "variables", "operationName"}:
        # A parameter that is given twice is read by each reader as it likes; `extensions` names a stored document.
        return False
    return is_plain_query(dict(pairs).get("query", ""))


def is_json(content_type: str) -> bool:
    """Exactly JSON: no form of another page can send it, and `text/plain; application/json` is a form's."""
    message = Message()
    message["content-type"] = content_type
    return message.get_content_type() == "application/json" and content_type.strip().lower().startswith(
        "application/json"
    )


def document_of(body: bytes) -> str | None:
    """The document of a JSON request; None for anything but one object with one query (a batch is several)."""
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(decoded, dict):
        return None
    query = cast(dict[str, object], decoded).get("query")
    return query if isinstance(query, str) else None


@lru_cache(maxsize=256)
def _remembered(text: str) -> bool:
    return _only_queries(text)


def _only_queries(text: str) -> bool:
    try:
        document = parse(text, no_location=True, max_lexical_tokens=_TOKENS)
    except (GraphQLError, RecursionError):
        return False
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    return bool(operations) and all(one.operation is OperationType.QUERY for one in operations)
