"""What the pipeline asks of AWS: as the source says, and as the adapters do it when they are used."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import boto3
import boto3.session
import botocore.session
from botocore import xform_name

from orders_pipeline.defs.resources import s3_client
from orders_pipeline.intake.queue import NotificationQueue
from orders_pipeline.privacy.audit_export.targets import S3Target
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.keys import WrappedKey
from orders_pipeline.vault.providers.kms import AwsKmsKeys
from orders_pipeline_tests.read_source import pipeline_modules

SERVICES = ("kms", "s3", "secretsmanager", "sqs")
# How the source calls a client of AWS's. Another name would hide its calls from this.
_CLIENTS = ("client", "_client", "manager")
BUCKET = "audit-of-the-shop"
CONTEXT = {"account_id": "A3TH9S8BH6GOGM"}


def services_in_source() -> set[str]:
    """The services that a client is made of."""
    return {
        str(node.args[0].value)
        for module in pipeline_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "aws_client"
        and isinstance(node.args[0], ast.Constant)
    }


def calls_in_source() -> set[str]:
    """Each `service:Operation` that the package names on a client."""
    session = botocore.session.get_session()
    operations: dict[str, str] = {}
    for service in SERVICES:
        names = session.get_service_model(service).operation_names
        operations |= {xform_name(operation): f"{service}:{operation}" for operation in names}
    return {operations[name] for module in pipeline_modules() for name in _names_on_clients(module.tree, operations)}


def _names_on_clients(tree: ast.AST, operations: Collection[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="get_paginator"), args=[ast.Constant(value=str(name))]):
                yield name
            case ast.Attribute(value=client, attr=name) if name in operations:
                if ast.unparse(client).rsplit(".", 1)[-1] in _CLIENTS:
                    yield name
            case _:
                pass


@contextmanager
def recording() -> Generator[set[str]]:
    """Each `service:Operation` that is sent from now on."""
    sent: set[str] = set()

    class Recorded(boto3.session.Session):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            self.events.register(
                "before-call.*", lambda model, **_: sent.add(f"{model.service_model.service_name}:{model.name}")
            )

    with patch.object(boto3.session, "Session", Recorded):
        yield sent


def _read_settings() -> None:
    secret: Any = boto3.client("secretsmanager")
    load_settings({"ORDERS_SECRETS_ARN": secret.create_secret(Name=uuid4().hex, SecretString="{}")["ARN"]})


def _queue() -> NotificationQueue:
    return NotificationQueue(boto3.client("sqs").create_queue(QueueName="orders")["QueueUrl"])


def _drain() -> None:
    queue = _queue()
    boto3.client("sqs").send_message(QueueUrl=queue._queue_url, MessageBody=json.dumps({}))
    queue.depth()
    assert queue.delete(queue.receive(wait_seconds=0)) == 0


def _look_at_queue() -> None:
    _queue().attributes()


def _keys() -> AwsKmsKeys:
    kms: Any = boto3.client("kms")
    if not any(alias["AliasName"] == "alias/orders" for alias in kms.list_aliases()["Aliases"]):
        kms.create_alias(AliasName="alias/orders", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    return AwsKmsKeys("alias/orders")


def _use_vault() -> WrappedKey:
    keys = _keys()
    wrapped = keys.wrap(b"0" * 32, CONTEXT)
    keys.unwrap(wrapped, CONTEXT)
    return wrapped


def _replace_keys() -> None:
    wrapped = _use_vault()
    keys = _keys()
    former = keys.current_key_id()
    keys.add_key()
    keys.rewrap(wrapped, CONTEXT)
    assert former in keys.key_ids()
    keys.destroy_key(former)
    assert keys.is_destroyed(former)


def _keep_copies() -> None:
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    target = S3Target(s3_client(), BUCKET)
    assert target.put("2026-11-30", io.BytesIO(b"{}"))
    assert target.get("2026-11-30") == b"{}"
    assert target.names() == {"2026-11-30"}


# What is done with AWS, and the process that does it.
USES: dict[str, tuple[Callable[[], object], frozenset[str]]] = {
    # Each process reads the settings: Dagster's own storage is found by them.
    "read settings": (_read_settings, frozenset({"Web", "Daemon", "CodeServer", "Run", "Migrate"})),
    # Sensors are evaluated by the code server: `drain_notifications_sensor`.
    "drain": (_drain, frozenset({"CodeServer"})),
    # The jobs `doctor` and `subscribe`.
    "look at queue": (_look_at_queue, frozenset({"Run"})),
    # An address on the board, a webhook's masking; parked messages; orders, pushes and tokens.
    "use vault": (_use_vault, frozenset({"Web", "CodeServer", "Run"})),
    # The job `rotate_keys`.
    "replace keys": (_replace_keys, frozenset({"Run"})),
    # The asset `audit_exports`, and the check that compares the copies with the log.
    "keep copies": (_keep_copies, frozenset({"Run"})),
}
