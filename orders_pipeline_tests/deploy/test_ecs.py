"""Runs as tasks of ECS: Dagster's launcher with our configuration, against an AWS on this machine, up to the request.

The request's command is then run as the task would run it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import boto3
import dagster as dg
import pytest
import yaml
from moto.ecs.models import ecs_backends

from orders_pipeline.database.engine import Database
from orders_pipeline.defs.runs import NOTE_IS_DUE_AFTER, request_unless_active
from orders_pipeline.settings import NAMES_IN_FILES, load_settings
from orders_pipeline_tests.aws import ThreadedServer
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.deploy.launching import begin, found, launch, look_after
from orders_pipeline_tests.read_source import environment_variables

ECS = Path(__file__).parents[2] / "deploy" / "ecs"
TASKS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text("utf-8")) for path in ECS.glob("*.json")}
OF_DATABASES = {"ORDERS_DATABASE_URL", "DAGSTER_POSTGRES_URL"}
# What ECS takes of a task's overrides, as JSON.
LONGEST_OVERRIDES = 8192
REGION = "us-east-1"


@dataclass(frozen=True)
class Cluster:
    """ECS with the daemon's task in it, as the launcher finds itself there."""

    client: Any
    arn: str
    subnet: str
    group: str
    endpoint: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ThreadedServer() as endpoint:
        session = boto3.Session("test", "test", region_name=REGION)
        client: Any = session.client("ecs", endpoint_url=endpoint)
        ec2: Any = session.client("ec2", endpoint_url=endpoint)
        arn = client.create_cluster(clusterName="orders")["cluster"]["clusterArn"]
        for task in TASKS.values():
            client.register_task_definition(**task)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName="daemon", Description="daemon", VpcId=vpc)["GroupId"]
        yield Cluster(client, arn, subnet, group, endpoint)


@pytest.fixture
def instance(
    cluster: Cluster, database_url: str, dagster_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Dagster as the daemon's task opens it."""
    network = {"subnets": [cluster.subnet], "securityGroups": [cluster.group], "assignPublicIp": "DISABLED"}
    daemon = cluster.client.run_task(
        cluster=cluster.arn,
        taskDefinition="orders-pipeline-daemon",
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )["tasks"][0]

    class Metadata(BaseHTTPRequestHandler):
        """What each container is told of its task."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"Cluster": cluster.arn, "TaskARN": daemon["taskArn"]}).encode())

        def log_message(self, format: str, *args: object) -> None: ...

    metadata = HTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=metadata.serve_forever, args=(0.01,))
    thread.start()
    (tmp_path / "dagster.yaml").write_text((ECS / "dagster.yaml").read_text("utf-8"))
    settings = {
        **{one["name"]: one["value"] for one in TASKS["run"]["containerDefinitions"][0]["environment"]},
        "AMAZON_SELLER_ID": SELLER,
        "AMAZON_MARKETPLACE_ID": MARKETPLACE,
        "AMAZON_LWA_CLIENT_SECRET": "not a secret",
        "AMAZON_LWA_REFRESH_TOKEN": "not a token",
        "WMS_TOKEN": "not a token",
        "ORDERS_DATABASE_URL": database_url,
        "DAGSTER_POSTGRES_URL": dagster_url,
        "ORDERS_DATA_DIR": str(tmp_path / "data"),
        "ORDERS_ENV_FILE": "/dev/null",
        "DAGSTER_HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": cluster.endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1:{metadata.server_port}",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    try:
        with dg.DagsterInstance.get() as opened:
            yield opened
    finally:
        metadata.shutdown()
        thread.join()
        metadata.server_close()


def test_a_run_is_a_task_beside_the_daemons_and_its_command_does_the_run(
    instance: dg.DagsterInstance, cluster: Cluster, tmp_path: Path
):
    launched = launch(instance, "prune_history")
    task_arn = launched.tags["ecs/task_arn"]
    described = cluster.client.describe_tasks(cluster=cluster.arn, tasks=[task_arn], include=["TAGS"])["tasks"][0]
    assert "/orders-pipeline-run:" in described["taskDefinitionArn"]
    assert described["launchType"] == "FARGATE"
    tags = {tag["key"]: tag["value"] for tag in described["tags"]}
    assert tags["dagster/run_id"] == launched.run_id and tags["dagster/job_name"] == "prune_history"
    details = {one["name"]: one["value"] for one in described["attachments"][0]["details"]}
    assert details["subnetId"] == cluster.subnet
    (override,) = described["overrides"]["containerOverrides"]
    assert override["name"] == "run", "the container of run.json"
    assert set(override) == {"name", "command"}, "settings and secrets are run.json's, and in no request"
    assert len(json.dumps(described["overrides"])) < LONGEST_OVERRIDES * 0.75, "room for longer names"
    # As the task would: nothing but its command and its environment.
    done = subprocess.run(
        [sys.executable, "-m", *override["command"]],
        env=dict(os.environ),
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert found(instance, launched.run_id).status is dg.DagsterRunStatus.SUCCESS


def test_a_run_whose_task_was_stopped_is_ended_at_the_next_look_and_asked_for_again(
    instance: dg.DagsterInstance, cluster: Cluster, database: Database
):
    run = launch(instance, "sync_orders")
    begin(instance, run, database)
    assert look_after(instance, run) is dg.DagsterRunStatus.STARTED
    assert request_unless_active(instance, database, "sync_orders", due=True) == [], "its task runs"
    task_arn = run.tags["ecs/task_arn"]
    cluster.client.stop_task(cluster=cluster.arn, task=task_arn)
    _note_killed(task_arn)
    assert look_after(instance, run) is dg.DagsterRunStatus.FAILURE
    assert len(request_unless_active(instance, database, "sync_orders", due=True)) == 1
    looks_every = yaml.safe_load((ECS / "dagster.yaml").read_text("utf-8"))["run_monitoring"]["poll_interval_seconds"]
    assert looks_every + NOTE_IS_DUE_AFTER.total_seconds() < 60


def _note_killed(task_arn: str) -> None:
    """What ECS says of a container that was killed, and this one leaves out."""
    for backend in ecs_backends["000000000000" if "000000000000" in ecs_backends else "123456789012"].values():
        for tasks in backend.tasks.values():
            for arn, task in tasks.items():
                if arn == task_arn:
                    task.containers = cast(Any, [{"name": "run", "exitCode": 137}])


# --- the definitions


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_closed_and_takes_its_secrets_from_secrets_manager(name: str):
    task = TASKS[name]
    assert (task["networkMode"], task["requiresCompatibilities"]) == ("awsvpc", ["FARGATE"])
    (container,) = task["containerDefinitions"]
    assert container["name"] == name and task["family"] == f"orders-pipeline-{name}"
    assert container["user"] == "10001:10001" and container["readonlyRootFilesystem"] is True
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert container["logConfiguration"]["logDriver"] == "awslogs"
    assert all(one["valueFrom"].startswith("arn:aws:secretsmanager:") for one in container["secrets"])
    secrets = {one["name"] for one in container["secrets"]}
    assert secrets <= set(NAMES_IN_FILES)
    assert secrets == OF_DATABASES or name in ("code", "run", "web"), "daemon and migrations: the databases alone"
    plain = {one["name"] for one in container["environment"]}
    assert not plain & secrets
    assert plain - {"ORDERS_RUN_TASK_DEFINITION", "ORDERS_CODE_SERVER_HOST"} <= environment_variables()


def test_the_tasks_have_all_settings_and_no_keys_in_a_folder_that_goes_with_them():
    for name in ("code", "run", "web"):
        (container,) = TASKS[name]["containerDefinitions"]
        given = {one["name"]: one["value"] for one in container["environment"]}
        url = "postgresql://orders:secret@database.example/orders?sslmode=verify-full"
        given |= {one["name"]: url if one["name"] in OF_DATABASES else "secret" for one in container["secrets"]}
        settings = load_settings({**given, "ORDERS_ENV_FILE": "/dev/null"})
        assert settings.problems == (), name
        assert settings.kms_key_id and settings.keyring_file is None, name


def test_the_instance_is_the_repositorys_but_for_the_launcher():
    ours = yaml.safe_load((ECS / "dagster.yaml").read_text("utf-8"))
    assert ours.pop("run_launcher")["class"] == "EcsRunLauncher"
    assert ours == yaml.safe_load((ECS.parents[1] / "dagster.yaml").read_text("utf-8"))
