"""Every mutation of the real schema is guarded where it is executed, and runs carry the person who started them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from dagster_graphql.schema import create_schema
from graphql import GraphQLInputObjectType, GraphQLObjectType, GraphQLSchema, execute_sync, get_named_type, parse

from orders_pipeline.audit.log import PERSON_TAG
from orders_pipeline.web.mutations import guard_mutations
from orders_pipeline.web.visitor import Role, Visitor, attach
from orders_pipeline_tests.web.test_people import MemoryJournal

MARIA = Visitor("maria", Role.OPERATOR, may_change=True)
NOBODY = Visitor(None, Role.OPERATOR, may_change=True)
FORGED = [{"key": PERSON_TAG, "value": "eve"}, {"key": "kept", "value": "yes"}]
SELECTOR = {"jobName": "erase", "repositoryName": "r", "repositoryLocationName": "l"}
LAUNCH = "mutation($p: ExecutionParams!){alias:launchRun(executionParams:$p){__typename}}"


class Guarded:
    """Dagster's schema behind the guard, with a recorder in the place of what each mutation does."""

    def __init__(self, *, parent_tags: dict[str, str] | None = None) -> None:
        schema = create_schema()
        self.graphql: GraphQLSchema = schema.graphql_schema
        self.mutations = cast(GraphQLObjectType, self.graphql.mutation_type).fields
        self.reached: list[tuple[str, dict[str, Any]]] = []
        for name, field in self.mutations.items():
            field.resolve = self._recorder(name)
        self.journal = MemoryJournal()
        guard_mutations(schema, self.journal)
        parent = SimpleNamespace(tags=parent_tags or {})
        self._instance = SimpleNamespace(get_run_by_id=lambda run_id: parent, get_backfill=lambda backfill_id: parent)

    def ask(self, document: str, visitor: Visitor | None, **variables: Any) -> str:
        """Execute; the errors' texts. What a mutation was given is in `reached`."""
        scope: dict[str, Any] = {}
        if visitor is not None:
            attach(scope, visitor)
        context = SimpleNamespace(source=SimpleNamespace(scope=scope), instance=self._instance)
        answer = execute_sync(self.graphql, parse(document), context_value=context, variable_values=variables)
        return str(answer.errors)

    def _recorder(self, name: str) -> Any:
        def resolve(root: object, info: object, **arguments: Any) -> None:
            self.reached.append((name, json.loads(json.dumps(arguments, default=str))))

        return resolve


@pytest.mark.parametrize(
    "visitor", [None, Visitor("victor", Role.VIEWER, may_change=True), Visitor("maria", Role.OPERATOR)]
)
def test_no_mutation_of_the_schema_runs_for_who_may_not(visitor: Visitor | None):
    guarded = Guarded()
    info = SimpleNamespace(context=SimpleNamespace(source=SimpleNamespace(scope={}), instance=None))
    if visitor is not None:
        attach(info.context.source.scope, visitor)
    assert len(guarded.mutations) > 30
    for field in guarded.mutations.values():
        with pytest.raises(Exception, match="may read"):
            field.resolve(None, info)
    assert guarded.reached == []


@pytest.mark.parametrize("mutation", ["reportRunlessAssetEvents", "reportAssetCheckEvaluations"])
def test_what_no_run_has_found_is_not_reported_through_graphql(mutation: str):
    guarded = Guarded()
    info = SimpleNamespace(context=SimpleNamespace(source=SimpleNamespace(scope={}), instance=None))
    attach(info.context.source.scope, MARIA)
    with pytest.raises(Exception, match="ORDERS_WEB_REPORT_TOKEN"):
        guarded.mutations[mutation].resolve(None, info)


def _tags_of(guarded: Guarded) -> list[list[dict[str, str]]]:
    found: list[list[dict[str, str]]] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in cast(dict[str, Any], value).items():
                if name in ("tags", "extraTags"):
                    found.append(inner)
                look(inner)
        elif isinstance(value, list):
            for inner in cast(list[Any], value):
                look(inner)

    look([arguments for _, arguments in guarded.reached])
    return found


@pytest.mark.parametrize("metadata", [None, {}, {"tags": FORGED}, {"tags": [], "parentRunId": "a"}])
@pytest.mark.parametrize(
    ("document", "many"),
    [
        (LAUNCH, False),
        ("mutation($p: ExecutionParams!){launchPipelineExecution(executionParams:$p){__typename}}", False),
        ("mutation($p: ExecutionParams!){launchPipelineReexecution(executionParams:$p){__typename}}", False),
        ("mutation($p: [ExecutionParams!]!){launchMultipleRuns(executionParamsList:$p){__typename}}", True),
    ],
)
def test_a_launched_run_carries_the_persons_name_and_no_other(
    document: str, many: bool, metadata: dict[str, Any] | None
):
    params = {
        "selector": SELECTOR,
        "runConfigData": "{}",
        **({} if metadata is None else {"executionMetadata": metadata}),
    }
    guarded = Guarded()
    guarded.ask(document, MARIA, p=[params, params] if many else params)
    tags = _tags_of(guarded)
    assert len(tags) == (2 if many else 1)
    for one in tags:
        assert [tag["value"] for tag in one if tag["key"] == PERSON_TAG] == ["maria"]
        assert ({"key": "kept", "value": "yes"} in one) == (metadata == {"tags": FORGED})
    assert [name for _, name in guarded.journal.entries] == ["maria"]


def test_a_name_in_a_literal_or_where_nobody_logs_in_is_dropped():
    literal = LAUNCH.replace("($p: ExecutionParams!)", "").replace(
        "$p",
        '{selector:{jobName:"erase",repositoryName:"r",repositoryLocationName:"l"},runConfigData:"{}",'
        f'executionMetadata:{{tags:[{{key:"{PERSON_TAG}",value:"eve"}}]}}}}',
    )
    named, unknown = Guarded(), Guarded()
    named.ask(literal, MARIA)
    unknown.ask(literal, NOBODY)
    assert _tags_of(named) == [[{"key": PERSON_TAG, "value": "maria"}]]
    assert _tags_of(unknown) == [[]]
    assert unknown.journal.entries == []


def test_a_backfill_carries_the_persons_name():
    guarded = Guarded()
    document = "mutation($p: LaunchBackfillParams!){launchPartitionBackfill(backfillParams:$p){__typename}}"
    guarded.ask(document, MARIA, p={"assetSelection": [], "tags": FORGED})
    guarded.ask(document, MARIA, p={"assetSelection": []})
    assert [one[-1] for one in _tags_of(guarded)] == [{"key": PERSON_TAG, "value": "maria"}] * 2
    assert not any(tag["value"] == "eve" for one in _tags_of(guarded) for tag in one)


@pytest.mark.parametrize(
    ("visitor", "parent", "expected"),
    [
        (MARIA, {}, "maria"),
        (MARIA, {PERSON_TAG: "victor"}, "maria"),
        # The parent's name would be inherited, and nobody is known to have asked.
        (NOBODY, {PERSON_TAG: "victor"}, ""),
        (NOBODY, {}, None),
    ],
)
def test_a_run_that_is_started_again_carries_the_name_of_who_did(
    visitor: Visitor, parent: dict[str, str], expected: str | None
):
    guarded = Guarded(parent_tags=parent)
    document = "mutation($p: ReexecutionParams!){launchRunReexecution(reexecutionParams:$p){__typename}}"
    guarded.ask(document, visitor, p={"parentRunId": "a", "strategy": "ALL_STEPS", "extraTags": FORGED})
    (tags,) = _tags_of(guarded)
    assert {tag["key"]: tag["value"] for tag in tags}.get(PERSON_TAG) == expected


@pytest.mark.parametrize(
    ("visitor", "reached"), [(MARIA, False), (NOBODY, False), (Visitor("victor", Role.OPERATOR, True), True)]
)
def test_a_backfill_that_another_person_started_is_not_repeated_in_their_name(visitor: Visitor, reached: bool):
    guarded = Guarded(parent_tags={PERSON_TAG: "victor"})
    document = "mutation($p: ReexecutionParams){reexecutePartitionBackfill(reexecutionParams:$p){__typename}}"
    errors = guarded.ask(document, visitor, p={"parentRunId": "a", "strategy": "ALL_STEPS"})
    assert bool(guarded.reached) == reached
    assert reached or "Somebody else started" in errors


def test_no_other_mutation_of_this_release_takes_tags():
    """A new way to hand tags to a run must be guarded before Dagster is upgraded."""
    guarded = Guarded()
    found = {
        (mutation, argument)
        for mutation, field in guarded.mutations.items()
        for argument, value in field.args.items()
        if _takes_tags(get_named_type(value.type), set())
    }
    assert found == {
        ("launchPipelineExecution", "executionParams"),
        ("launchRun", "executionParams"),
        ("launchMultipleRuns", "executionParamsList"),
        ("launchPipelineReexecution", "executionParams"),
        ("launchPipelineReexecution", "reexecutionParams"),
        ("launchRunReexecution", "executionParams"),
        ("launchRunReexecution", "reexecutionParams"),
        ("launchPartitionBackfill", "backfillParams"),
        ("reexecutePartitionBackfill", "reexecutionParams"),
    }


def _takes_tags(kind: Any, seen: set[str]) -> bool:
    if not isinstance(kind, GraphQLInputObjectType) or kind.name in seen:
        return False
    seen.add(kind.name)
    return kind.name == "ExecutionTag" or any(
        _takes_tags(get_named_type(one.type), seen) for one in kind.fields.values()
    )
