"""What the CloudFormation templates make is what the pipeline and Amazon need, and valid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from cfnlint import api as cfn_lint

from orders_pipeline.channels.amazon.queue_diagnostics import AMAZON_ACCOUNT, check_queue
from orders_pipeline.intake.notification import parse_notification
from orders_pipeline.intake.queue import CALLS
from orders_pipeline_tests.aws import ThreadedServer
from orders_pipeline_tests.deploy.templates import ACCOUNT, TEMPLATES, Stack
from orders_pipeline_tests.intake.test_notification import EXPECTED, MESSAGE

EVENT_SOURCE = f"aws.partner/sellingpartnerapi.amazon.com/{ACCOUNT}/amzn1.sellerapps.app.1"
# A tick of the drain, in all.
TICK_SECONDS = 60


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with ThreadedServer() as url:
        yield url


@pytest.fixture
def queue(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, str]]:
    """The template's queue, made: its URL, and what SQS says of it."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    sqs: Any = boto3.client("sqs")
    stack = Stack("queue.yaml")
    made: dict[str, str] = {}
    for resource in ("DeadLetters", "Queue"):
        properties = dict(stack.resources[resource])
        name = properties.pop("QueueName")
        if "RedrivePolicy" in properties:
            redrive = properties["RedrivePolicy"]
            properties["RedrivePolicy"] = json.dumps(redrive | {"deadLetterTargetArn": made["DeadLetters"]})
        attributes = {attribute: str(value) for attribute, value in properties.items()}
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        made[resource] = _attributes(sqs, url)["QueueArn"]
    policy = json.dumps(stack.resources["QueuePolicy"]["PolicyDocument"]).replace("Queue.Arn", made["Queue"])
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, _attributes(sqs, url)


def _attributes(sqs: Any, url: str) -> dict[str, str]:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def _grants(policy: Any, **principal: str) -> set[str]:
    granted: set[str] = set()
    for statement in policy["Statement"]:
        if statement["Effect"] == "Allow" and statement["Principal"] == principal:
            actions = statement["Action"]
            granted |= {actions} if isinstance(actions, str) else set(actions)
    return granted


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_cfn_lint_finds_nothing(template: Any):
    assert [str(found) for found in cfn_lint.lint_file(template)] == []


def test_doctor_finds_nothing_wrong_with_the_queue(queue: tuple[str, dict[str, str]]):
    _, attributes = queue
    assert [str(result) for result in check_queue(attributes) if not result.ok] == []
    # As long as a tick, so that none sees its own messages again; and a receive of it ends before.
    assert int(attributes["VisibilityTimeout"]) >= TICK_SECONDS > CALLS["receive"].longest


def test_amazon_may_use_the_queues_key_and_nobody_sends_in_clear():
    stack = Stack("queue.yaml")
    amazon = f"arn:aws:iam::{AMAZON_ACCOUNT}:root"
    assert _grants(stack.resources["QueueKey"]["KeyPolicy"], AWS=amazon) == {"kms:GenerateDataKey", "kms:Decrypt"}
    assert _grants(stack.resources["QueuePolicy"]["PolicyDocument"], AWS=amazon) == {
        "sqs:SendMessage",
        "sqs:GetQueueAttributes",
    }
    bucket = Stack("audit-bucket.yaml", BucketName="audit").of_type("AWS::S3::BucketPolicy")
    for policies in (stack.of_type("AWS::SQS::QueuePolicy"), bucket):
        for policy in policies.values():
            denied = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny"]
            assert [(one["Principal"], one["Condition"]) for one in denied] == [
                ("*", {"Bool": {"aws:SecureTransport": "false"}})
            ]


def test_a_dead_letter_raises_an_alarm_and_tells_the_topic_that_is_given():
    stack = Stack("queue.yaml", AlarmTopicArn="topic")
    alarm = stack.resources["DeadLettersAlarm"]
    assert (alarm["MetricName"], alarm["Threshold"]) == ("ApproximateNumberOfMessagesVisible", 0)
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": "DeadLetters.QueueName"}]
    assert [one["AlarmActions"] for one in stack.of_type("AWS::CloudWatch::Alarm").values()] == [["topic"], ["topic"]]
    assert "AlarmActions" not in Stack("queue.yaml").resources["DeadLettersAlarm"]


def test_eventbridge_is_let_in_where_there_is_a_partners_event_source_and_only_by_its_rule():
    without, stack = Stack("queue.yaml"), Stack("queue.yaml", PartnerEventSource=EVENT_SOURCE)
    assert not without.of_type("AWS::Events::EventBus")
    for resource, document, actions in (
        ("QueueKey", "KeyPolicy", {"kms:GenerateDataKey", "kms:Decrypt"}),
        ("QueuePolicy", "PolicyDocument", {"sqs:SendMessage"}),
        ("DeadLettersPolicy", "PolicyDocument", {"sqs:SendMessage"}),
    ):
        assert _grants(without.resources[resource][document], Service="events.amazonaws.com") == set()
        assert _grants(stack.resources[resource][document], Service="events.amazonaws.com") == actions
    sources = [
        statement["Condition"]
        for policy in stack.of_type("AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    assert sources == [{"ArnEquals": {"aws:SourceArn": "EventRule.Arn"}}] * 2
    bus = stack.resources["EventBus"]
    assert bus["Name"] == bus["EventSourceName"] == EVENT_SOURCE


def test_what_the_rule_sends_is_read_as_the_notification_that_it_is(queue: tuple[str, dict[str, str]]):
    url, attributes = queue
    events: Any = boto3.client("events")
    # The bus of a partner's source is Amazon's to offer: one of ours, with the template's rule on it.
    events.create_event_bus(Name="ours")
    rule = Stack("queue.yaml", PartnerEventSource=EVENT_SOURCE, EventTypes="ORDER_CHANGE").resources["EventRule"]
    events.put_rule(Name=rule["Name"], EventBusName="ours", EventPattern=json.dumps(rule["EventPattern"]))
    target = {**rule["Targets"][0], "Arn": attributes["QueueArn"]}
    del target["DeadLetterConfig"]
    events.put_targets(Rule=rule["Name"], EventBusName="ours", Targets=[target])
    sent = {"EventBusName": "ours", "DetailType": "ORDER_CHANGE", "Detail": json.dumps(MESSAGE)}
    events.put_events(Entries=[{**sent, "Source": EVENT_SOURCE}, {**sent, "Source": "somebody.else"}])
    sqs: Any = boto3.client("sqs")
    (message,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert json.loads(message["Body"])["detail"] == MESSAGE
    assert parse_notification(message["Body"]) == EXPECTED


@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
def test_copies_of_the_audit_log_are_locked_for_more_than_twelve_months(mode: str):
    stack = Stack("audit-bucket.yaml", BucketName="audit", LockMode=mode)
    bucket = stack.resources["AuditBucket"]
    retention = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert retention["Mode"] == mode
    assert retention["Days"] >= 366
    assert stack.declared("RetentionDays")["MinValue"] >= 366
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}


def test_what_cannot_be_made_again_outlives_its_stack_and_no_template_holds_a_secret():
    for template in TEMPLATES:
        text = template.read_text("utf-8")
        assert "SecretString" not in text
        assert "GenerateSecretString" not in text
    for name, parameters in (("queue.yaml", {}), ("vault.yaml", {}), ("audit-bucket.yaml", {"BucketName": "audit"})):
        stack = Stack(name, **parameters)
        for kind in (
            "AWS::KMS::Key",
            "AWS::KMS::Alias",
            "AWS::SQS::Queue",
            "AWS::S3::Bucket",
            "AWS::SecretsManager::Secret",
        ):
            for resource in stack.of_type(kind):
                assert stack.policies(resource) == ("Retain", "Retain"), (name, resource)
    keys = [key for name in ("queue.yaml", "vault.yaml") for key in Stack(name).of_type("AWS::KMS::Key").values()]
    assert [key["EnableKeyRotation"] for key in keys] == [True] * 3
