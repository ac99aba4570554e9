"""Each role may do what its process asks of AWS, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster_aws.ecs.launcher
import pytest

from orders_pipeline_tests.aws import ThreadedServer
from orders_pipeline_tests.deploy.aws_calls import SERVICES, USES, calls_in_source, recording, services_in_source
from orders_pipeline_tests.deploy.templates import Stack
from orders_pipeline_tests.deploy.test_ecs import TASKS

PROCESSES = ("Web", "Daemon", "CodeServer", "Run", "Migrate")
# Operations whose action has another name, or needs several (AWS's service authorization reference).
ACTIONS = {
    "sqs:DeleteMessageBatch": {"sqs:DeleteMessage"},
    "kms:ReEncrypt": {"kms:ReEncryptFrom", "kms:ReEncryptTo"},
    # With tags.
    "kms:CreateKey": {"kms:CreateKey", "kms:TagResource"},
    "s3:ListObjectsV2": {"s3:ListBucket"},
    # What these hold is encrypted, and opened with the rights of who asks.
    "sqs:ReceiveMessage": {"sqs:ReceiveMessage", "kms:Decrypt by sqs"},
    "secretsmanager:GetSecretValue": {"secretsmanager:GetSecretValue", "kms:Decrypt by secretsmanager"},
}
# Dagster's launcher. A task definition of ours is named, so that it registers none and asks for no tagged secret.
LAUNCHER = {
    "Daemon": {"ecs:RunTask", "ecs:TagResource", "iam:PassRole", "ec2:DescribeNetworkInterfaces", "logs:GetLogEvents"},
    "*": {"ecs:DescribeTasks", "ecs:StopTask", "ecs:DescribeTaskDefinition"},
}
# AWS has no resource for these.
EVERYWHERE = {
    "kms:CreateKey", "kms:TagResource", "kms:ListAliases", "ecs:DescribeTaskDefinition",
    "ec2:DescribeNetworkInterfaces", "ecr:GetAuthorizationToken",
}  # fmt: skip


def _stack(settings_read_by: str) -> Stack:
    return Stack(
        "roles.yaml",
        SettingsReadBy=settings_read_by,
        QueueArns="queue",
        QueueKeyArns="queue-key",
        SecretsArns="secret",
        SecretsKeyArn="secrets-key",
        AuditBucketArn="bucket",
        ClusterArn="cluster",
        ImageRepositoryArn="images",
    )


@pytest.fixture(scope="module")
def roles() -> Stack:
    """With ORDERS_SECRETS_ARN given to each process."""
    return _stack("processes")


@pytest.fixture(scope="module")
def recorded() -> Iterator[dict[str, set[str]]]:
    """The operations of each use."""
    with pytest.MonkeyPatch.context() as patch, ThreadedServer() as url:
        patch.setenv("AWS_ENDPOINT_URL", url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            patch.setenv(name, "us-east-1")
        found: dict[str, set[str]] = {}
        for use, (do, _) in USES.items():
            with recording() as found[use]:
                do()
        yield found


def _statements(roles: Stack, role: str) -> list[dict[str, Any]]:
    policies = [roles.resources[name] for name in roles.resources[role]["ManagedPolicyArns"]]
    assert "Policies" not in roles.resources[role], "said once, in a managed policy"
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _allowed(roles: Stack, role: str) -> set[str]:
    """The actions; those that another service does on our behalf as `action by service`."""
    found: set[str] = set()
    for statement in _statements(roles, role):
        assert statement["Effect"] == "Allow"
        by = [
            re.split(r"\.", via)[0]
            for one in statement.get("Condition", {}).values()
            for via in _list(one.get("kms:ViaService", []))
        ]
        found |= {f"{action} by {by[0]}" if by else action for action in _list(statement["Action"])}
    return found


def _expected(process: str, recorded: dict[str, set[str]]) -> set[str]:
    operations = {one for use, (_, processes) in USES.items() if process in processes for one in recorded[use]}
    return {action for operation in operations for action in ACTIONS.get(operation, {operation})}


def test_every_call_in_the_source_is_made_by_a_use_and_the_other_way_round(recorded: dict[str, set[str]]):
    assert services_in_source() == set(SERVICES)
    assert calls_in_source() == set().union(*recorded.values())


@pytest.mark.parametrize("process", PROCESSES)
def test_a_role_has_the_actions_that_its_process_needs_and_no_other(
    roles: Stack, recorded: dict[str, set[str]], process: str
):
    launcher = LAUNCHER.get(process, set()) | (LAUNCHER["*"] if process in ("Daemon", "Web") else set())
    assert _allowed(roles, f"{process}Role") == _expected(process, recorded) | launcher


def test_where_ecs_reads_the_settings_no_process_may(roles: Stack):
    by_ecs = _stack("ecs")
    reading = {"secretsmanager:GetSecretValue", "kms:Decrypt by secretsmanager"}
    for process in PROCESSES:
        assert _allowed(by_ecs, f"{process}Role") == _allowed(roles, f"{process}Role") - reading
    assert _allowed(by_ecs, "ExecutionRole") == _allowed(roles, "ExecutionRole") | reading


def test_task_definitions_name_what_the_templates_make(roles: Stack):
    arn = f"arn:aws:iam::{'0' * 12}:role/"
    assert {f"{arn}{role['RoleName']}" for role in roles.of_type("AWS::IAM::Role").values()} == {
        task[kind] for task in TASKS.values() for kind in ("taskRoleArn", "executionRoleArn")
    }
    named = {"Web": "web", "Daemon": "daemon", "CodeServer": "code", "Run": "run", "Migrate": "migrate"}
    for process, task in named.items():
        assert TASKS[task]["taskRoleArn"] == f"{arn}{roles.resources[f'{process}Role']['RoleName']}"
    assert roles.declared("RunTaskFamily")["Default"] == TASKS["run"]["family"]
    vault = Stack("vault.yaml")
    secret = vault.resources["Settings"]["Name"]
    for container in (one for task in TASKS.values() for one in task["containerDefinitions"]):
        for given in container["secrets"]:
            # The key of the JSON object that has the variable's own name.
            assert given["valueFrom"].endswith(f":secret:{secret}:{given['name']}::")
        environment = {one["name"]: one["value"] for one in container["environment"]}
        assert environment.get("ORDERS_KMS_KEY_ID") in (vault.resources["VaultKeyAlias"]["AliasName"], None)
        assert container["logConfiguration"]["options"]["awslogs-group"] == roles.declared("LogGroupName")["Default"]


def test_every_action_is_spelled_out_and_bound_to_what_it_is_for(roles: Stack):
    for role in (*(f"{process}Role" for process in PROCESSES), "ExecutionRole"):
        for statement in _statements(roles, role):
            actions = set(_list(statement["Action"]))
            assert not [action for action in actions if "*" in action]
            if _list(statement["Resource"]) == ["*"]:
                assert actions <= EVERYWHERE, (role, actions)
            if any(":key/*" in resource for resource in _list(statement["Resource"])):
                assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/orders_pipeline": "vault"}}
    # A shredding is not taken back.
    assert "kms:CancelKeyDeletion" not in {action for role in PROCESSES for action in _allowed(roles, f"{role}Role")}


def test_only_ecs_takes_these_roles_and_no_two_processes_share_one(roles: Stack):
    trusted = [role["AssumeRolePolicyDocument"]["Statement"] for role in roles.of_type("AWS::IAM::Role").values()]
    assert {one["Principal"]["Service"] for (one,) in trusted} == {"ecs-tasks.amazonaws.com"}
    assert len({value for name, value in roles.outputs.items() if name.endswith("RoleArn")}) == len(PROCESSES) + 1


def test_dagsters_launcher_calls_what_it_did():
    source = Path(dagster_aws.ecs.launcher.__file__).parent
    calls = {
        found
        for name in ("launcher.py", "utils.py", "tasks.py")
        for found in re.findall(r"\becs\.((?:[a-z]+_)+[a-z]+)\(", (source / name).read_text("utf-8"))
    }
    assert calls == {
        "describe_task_definition",
        "describe_tasks",
        "run_task",
        "stop_task",
        # Not with a task definition of ours.
        "register_task_definition",
    }, "StartRuns and EndRuns of deploy/aws/roles.yaml"
