"""Dagster's chart is given keys that it has, our manifests are Kubernetes's, and a run's Job is as our values say."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import kubernetes_validate
import pytest
import yaml

from orders_pipeline.database.engine import Database
from orders_pipeline.defs.runs import NOTE_IS_DUE_AFTER, request_unless_active
from orders_pipeline.settings import NAMES_IN_FILES, load_settings
from orders_pipeline_tests.deploy.launching import begin, launch, look_after
from orders_pipeline_tests.read_source import environment_variables

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
VALUES: dict[str, Any] = yaml.safe_load((KUBERNETES / "values.yaml").read_text("utf-8"))
CHART: dict[str, Any] = json.loads((KUBERNETES / "chart_values.schema.json").read_text("utf-8"))
MANIFESTS = sorted(path.name for path in KUBERNETES.glob("*.yaml") if path.name != "values.yaml")
# The oldest and the newest that its makers still mend.
VERSIONS = ("1.34", "1.37")
LAUNCHER = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
(CODE,) = VALUES["dagster-user-deployments"]["deployments"]
IMAGE = f"{CODE['image']['repository']}:{CODE['image']['tag']}"


@cache
def _documents(name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((KUBERNETES / name).read_text("utf-8")) if one]


def _pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each pod that is described here as a whole."""
    for name in MANIFESTS:
        for document in _documents(name):
            if "template" in document.get("spec", {}):
                yield document["metadata"]["name"], document["spec"]["template"]["spec"]


class Cluster:
    """As much of Kubernetes's API as the launcher asks, over HTTP: it takes a Job, and says how it is."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.status: dict[str, Any] = {"active": 1}
        cluster = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                cluster.jobs.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(201, cluster.jobs[-1])

            def do_GET(self) -> None:
                job = {**cluster.jobs[-1], "status": cluster.status}
                self._answer(200, {"kind": "PodList", "items": []} if "/pods" in self.path else job)

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Cluster:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def kubeconfig(self) -> str:
        named = {"name": "test"}
        cluster = {**named, "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}
        context = {**named, "context": {"cluster": "test", "user": "test"}}
        user = {**named, "user": {}}
        return yaml.safe_dump(
            {"current-context": "test", "clusters": [cluster], "contexts": [context], "users": [user]}
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def instance(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """Dagster with the launcher as the chart's templates hand our values to it."""
    folder = tmp_path_factory.mktemp("kubernetes")
    (folder / "kubeconfig").write_text(cluster.kubeconfig())
    config = {
        "load_incluster_config": False,
        "kubeconfig_file": str(folder / "kubeconfig"),
        "job_namespace": "orders",
        "image_pull_policy": LAUNCHER["imagePullPolicy"],
        "service_account_name": VALUES["global"]["serviceAccountName"],
        "dagster_home": VALUES["global"]["dagsterHome"],
        "instance_config_map": "orders-dagster-instance",
        "postgres_password_secret": VALUES["global"]["postgresqlSecretName"],
        "env_config_maps": [one["name"] for one in LAUNCHER["envConfigMaps"]],
        "volume_mounts": LAUNCHER["volumeMounts"],
        "volumes": LAUNCHER["volumes"],
        "labels": LAUNCHER["labels"],
        "resources": LAUNCHER["resources"],
        "security_context": LAUNCHER["securityContext"],
        "run_k8s_config": {_snake(key): value for key, value in LAUNCHER["runK8sConfig"].items()},
    }
    launcher = {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": config}
    with dg.instance_for_test(overrides={"run_launcher": launcher}, temp_dir=str(folder)) as instance:
        yield instance


@pytest.fixture(scope="module")
def job(instance: dg.DagsterInstance, cluster: Cluster) -> dict[str, Any]:
    """The Job that Kubernetes was sent for a run."""
    launch(instance, "refresh_reports", image=IMAGE)
    return cluster.jobs[-1]


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


# --- the chart


def test_every_key_that_we_set_is_the_charts_and_has_its_type():
    jsonschema.validate(VALUES, CHART)


BREAKS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an unknown key": lambda values: values.update(dagsterDeamon={}),
    "an unknown key of the daemon": lambda values: values["dagsterDaemon"].update(replicas=2),
    "an unknown key of the launcher": lambda values: values["runLauncher"]["config"]["k8sRunLauncher"].update(ttl=1),
    "an unknown key of a run": lambda values: values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"].update(
        podSpec={}
    ),
    "a number as text": lambda values: values["dagsterWebserver"].update(replicaCount="0"),
    "a list where one is": lambda values: values["dagster-user-deployments"].update(deployments={}),
    "an unknown launcher": lambda values: values["runLauncher"].update(type="KubernetesRunLauncher"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_key_that_the_chart_has_not_and_a_wrong_type_are_refused(name: str):
    values = copy.deepcopy(VALUES)
    BREAKS[name](values)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, CHART)


def test_the_facts_of_the_chart_say_where_they_are_from():
    assert "commit bdb8547fab497826eeec292bc160b549a0a329ef (Apache-2.0" in CHART["$comment"]


def test_dagsters_open_webserver_does_not_run():
    assert VALUES["dagsterWebserver"]["replicaCount"] == 0
    assert VALUES["ingress"] == {"enabled": False}


def test_the_instance_is_the_repositorys_but_for_what_the_chart_says():
    ours = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))
    of_the_chart = {"storage", "compute_logs", "telemetry"}
    assert VALUES["additionalInstanceConfig"] == {key: one for key, one in ours.items() if key not in of_the_chart}
    assert VALUES["computeLogManager"]["type"] == ours["compute_logs"]["class"]
    assert VALUES["telemetry"] == ours["telemetry"]
    # Said once: what the chart would write of these beside it would be a second key of the same name.
    daemon = VALUES["dagsterDaemon"]
    for name in ("runCoordinator", "runMonitoring", "runRetries"):
        assert daemon[name]["enabled"] is False
    assert not daemon["sensors"]["useThreads"] and not daemon["schedules"]["useThreads"]
    assert not VALUES["retention"]["enabled"] and not VALUES["migrate"]["enabled"]


def test_the_location_keeps_its_name_though_a_service_cannot_have_it():
    (server,) = VALUES["dagsterWebserver"]["workspace"]["servers"]
    location = yaml.safe_load((ROOT / "workspace.yaml").read_text("utf-8"))["load_from"][0]["python_module"]
    assert server == {"host": CODE["name"], "port": CODE["port"], "name": location["location_name"]}
    assert CODE["codeServerArgs"][3] == location["location_name"]


# --- Kubernetes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_our_manifests_are_kubernetess(name: str, version: str):
    for document in _documents(name):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_parts_of_pods_that_the_chart_hands_on_are_kubernetess():
    daemon = VALUES["dagsterDaemon"]
    for name, part in (("code", CODE), ("daemon", daemon)):
        probes = {key: dict(part[key]) for key in ("readinessProbe", "livenessProbe", "startupProbe") if key in part}
        for probe in probes.values():
            # As the chart's templates complete them.
            probe.pop("enabled", None)
            probe.setdefault("exec", {"command": ["dagster", "api", "grpc-health-check", "-p", "3030"]})
        container = {
            "name": name,
            "image": "image",
            "securityContext": part["securityContext"],
            "resources": part["resources"],
            "volumeMounts": part["volumeMounts"],
            **probes,
        }
        spec = {"containers": [container], "volumes": part["volumes"], "securityContext": part["podSecurityContext"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": part["labels"]}, "spec": spec}
        kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)
        _assert_closed(name, spec)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_runs_job_is_kubernetess_and_closed(job: dict[str, Any], version: str):
    kubernetes_validate.validate(job, version, strict=True)
    pod = job["spec"]["template"]["spec"]
    _assert_closed("run", pod)
    (container,) = pod["containers"]
    assert container["image"] == IMAGE, "the code server's: never another release's"
    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    assert {"configMapRef": {"name": "orders-pipeline-settings"}} in container["envFrom"]
    assert job["spec"]["template"]["metadata"]["labels"]["orders-pipeline/role"] == "run"


def test_a_runs_job_goes_an_hour_after_it_and_a_node_that_is_gone_holds_no_run(job: dict[str, Any]):
    spec = job["spec"]
    assert spec["ttlSecondsAfterFinished"] == 3600
    assert spec["backoffLimit"] == 0, "what a run left is asked for again by what is pending"
    pod = spec["template"]["spec"]
    assert {one["key"]: one["tolerationSeconds"] for one in pod["tolerations"]} == {
        "node.kubernetes.io/not-ready": 20,
        "node.kubernetes.io/unreachable": 20,
    }
    assert pod["automountServiceAccountToken"] is False


def test_a_run_whose_pod_is_gone_is_ended_at_the_next_look_and_asked_for_again(
    instance: dg.DagsterInstance, cluster: Cluster, database: Database
):
    run = launch(instance, "sync_orders", image=IMAGE)
    begin(instance, run, database)
    assert look_after(instance, run) is dg.DagsterRunStatus.STARTED
    assert request_unless_active(instance, database, "sync_orders", due=True) == [], "its pod runs"
    cluster.status = {"failed": 1}
    assert look_after(instance, run) is dg.DagsterRunStatus.FAILURE
    assert len(request_unless_active(instance, database, "sync_orders", due=True)) == 1
    monitoring = VALUES["additionalInstanceConfig"]["run_monitoring"]
    assert monitoring["poll_interval_seconds"] + NOTE_IS_DUE_AFTER.total_seconds() < 60


def _assert_closed(name: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 10001, name
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True and context["allowPrivilegeEscalation"] is False, name
        assert context["capabilities"]["drop"] == ["ALL"], name
        assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize(("name", "pod"), list(_pods()))
def test_every_pod_is_closed(name: str, pod: dict[str, Any]):
    _assert_closed(name, pod)
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
    assert not any("hostPath" in volume for volume in pod["volumes"]), name


def test_the_code_server_is_reached_by_web_and_daemon_alone_and_a_run_by_nobody():
    policies = {one["metadata"]["name"]: one["spec"] for one in _documents("network.yaml")}
    assert policies["orders-pipeline-closed"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    (rule,) = policies["orders-pipeline-code"]["ingress"]
    assert rule["from"][0]["podSelector"]["matchExpressions"][0]["values"] == ["daemon", "web"]
    assert rule["ports"] == [{"port": CODE["port"], "protocol": "TCP"}]
    roles = {CODE["labels"]["orders-pipeline/role"], VALUES["dagsterDaemon"]["labels"]["orders-pipeline/role"]}
    assert roles == {"code", "daemon"} and LAUNCHER["labels"] == {"orders-pipeline/role": "run"}


def test_the_web_port_stays_while_a_node_is_emptied():
    deployment, _, budget = _documents("web.yaml")
    assert deployment["spec"]["replicas"] > budget["spec"]["maxUnavailable"]
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]


def test_the_settings_are_whole_and_no_secret_is_among_them():
    (settings,) = _documents("settings.yaml")
    data: dict[str, str] = settings["data"]
    assert set(data) <= environment_variables() | {f"{name}_FILE" for name in NAMES_IN_FILES}
    url = "postgresql://orders:secret@database.example/orders?sslmode=verify-full"
    given = {name.removesuffix("_FILE"): url if "URL" in name else "secret" for name in data if name.endswith("_FILE")}
    plain = {name: value for name, value in data.items() if not name.endswith("_FILE") or name == "ORDERS_KEYRING_FILE"}
    loaded = load_settings({**plain, **given, "ORDERS_KEYRING_FILE": data["ORDERS_KEYRING_FILE"]})
    assert loaded.problems == ()
    assert loaded.kms_key_id and loaded.keyring_file is None, "keys in a pod's folder would go with the pod"
    assert str(loaded.audit_export).startswith("s3://")
    web = _documents("web.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    of_the_web = {one["name"]: one.get("value", "secret") for one in web["env"]}
    assert load_settings({**plain, **given, **of_the_web, "ORDERS_KEYRING_FILE": ""}).problems == ()
