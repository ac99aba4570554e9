"""Every mutation of Dagster's schema, guarded where it is executed: whatever form the request had.

The guard of the port looks at requests before this, and explains more. This is the last word: names, aliases,
fragments, variables and literals all end in the same resolvers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from graphene import Schema
from graphql import GraphQLError, GraphQLField, GraphQLObjectType

from orders_pipeline.audit.log import PERSON_TAG
from orders_pipeline.web.journal import Journal
from orders_pipeline.web.visitor import Visitor, visitor_of

# They write an asset's or a check's result without a run, as the closed report_* endpoints do.
_REPORTS = ("reportRunlessAssetEvents", "reportAssetCheckEvaluations")
# The browser's own bookkeeping.
_NOT_TOLD = ("logTelemetry", "setNuxSeen")
# New runs from an earlier backfill take its tags, and no argument can replace them.
_FROM_A_BACKFILL = "reexecutePartitionBackfill"

Resolver = Callable[..., Any]


def guard_mutations(schema: Schema, journal: Journal) -> Schema:
    """The schema, with each of its mutations guarded."""
    mutation = cast(GraphQLObjectType, schema.graphql_schema.mutation_type)
    for name, field in mutation.fields.items():
        field.resolve = _guarded(name, field, journal)
    return schema


def _guarded(name: str, field: GraphQLField, journal: Journal) -> Resolver:
    really = cast(Resolver, field.resolve)

    def resolve(root: object, info: Any, **arguments: Any) -> Any:
        visitor = visitor_of(getattr(info.context.source, "scope", {}))
        if visitor is None or not visitor.may_change or not visitor.role.may_change:
            raise GraphQLError("This request may read, and not change anything.")
        if name in _REPORTS:
            raise GraphQLError(
                "What no run has found is not reported here: POST to /report_… with the token ORDERS_WEB_REPORT_TOKEN."
            )
        _set_person(name, arguments, visitor, info.context.instance)
        if visitor.name is not None and name not in _NOT_TOLD:
            journal.changes(visitor.name, name)
        return really(root, info, **arguments)

    return resolve


def _set_person(mutation: str, arguments: Mapping[str, Any], visitor: Visitor, instance: Any) -> None:
    """Have every run that comes of this carry the person's name; what the client says of it is dropped."""
    single = arguments.get("executionParams")
    for launch in [single] if single else list(arguments.get("executionParamsList") or []):
        metadata = launch.get("executionMetadata")
        if metadata is None:
            metadata = launch["executionMetadata"] = {}
        metadata["tags"] = _tags(metadata.get("tags"), visitor.name)
    if (backfill := arguments.get("backfillParams")) is not None:
        backfill["tags"] = _tags(backfill.get("tags"), visitor.name)
    again = arguments.get("reexecutionParams")
    if again is None:
        return
    if mutation == _FROM_A_BACKFILL:
        earlier = instance.get_backfill(again["parentRunId"])
        if earlier is not None and earlier.tags.get(PERSON_TAG) != visitor.name:
            raise GraphQLError("Somebody else started this backfill: launch a new one for its partitions.")
        return
    parent = instance.get_run_by_id(again["parentRunId"])
    inherits = parent is not None and PERSON_TAG in parent.tags
    # An empty value replaces the name that the parent's tags hold.
    again["extraTags"] = _tags(again.get("extraTags"), visitor.name or ("" if inherits else None))


def _tags(given: list[dict[str, str]] | None, person: str | None) -> list[dict[str, str]]:
    others = [tag for tag in given or [] if tag["key"] != PERSON_TAG]
    return others if person is None else [*others, {"key": PERSON_TAG, "value": person}]
