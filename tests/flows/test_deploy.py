"""What deploy/ says of us is so; that its files are well formed, .ci/deploy.sh sees to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.__main__ import _parser
from app.config import Settings
from tests.fixtures import MakeClient
from tests.flows.conftest import Shopper, Sql

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
K8S = [
    document
    for file in sorted((DEPLOY / "k8s").rglob("*.yaml"))
    if file.name != "kustomization.yaml"
    for document in yaml.safe_load_all(file.read_text())
]
DEFAULTS = {name.upper(): field.default for name, field in Settings.model_fields.items()}
OTHERS = {"PATH", "HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


def kinds(*names: str) -> list[dict[str, Any]]:
    found = [one for one in K8S if one["kind"] in names]
    assert found
    return found


def pods() -> list[Any]:
    found = [
        pytest.param(one["spec"]["template"]["spec"], id=one["metadata"]["name"])
        for one in kinds("Deployment", "Job")
    ]
    assert len(found) == 4
    return found


def ours() -> list[Any]:
    """The services of compose.yaml that run our image."""
    found = [
        pytest.param(one, id=name)
        for name, one in COMPOSE["services"].items()
        if one["image"].startswith("tryonai:")
    ]
    assert len(found) == 4
    return found


def test_every_variable_that_is_set_is_a_setting() -> None:
    config = [
        literal.partition("=")[0]
        for file in (DEPLOY / "k8s").rglob("kustomization.yaml")
        for generator in yaml.safe_load(file.read_text()).get("configMapGenerator", [])
        for literal in generator["literals"]
    ]
    containers = [
        variable["name"]
        for pod in pods()
        for container in pod.values[0]["containers"]
        for variable in container.get("env", [])
    ]
    composed = [name for one in ours() for name in one.values[0]["environment"]]
    (block,) = re.findall(r"^ENV PATH=.*?\n(.*?)^USER", dockerfile(), re.M | re.S)
    image = re.findall(r"^ +([A-Z_]+)=", block, re.M)

    assert min(map(len, (config, containers, composed, image))) >= 3
    assert {*config, *containers, *composed, *image} - OTHERS - set(DEFAULTS) == set()


def dockerfile() -> str:
    return (DEPLOY / "Dockerfile").read_text()


@pytest.mark.parametrize("pod", pods())
def test_every_pod_is_as_the_restricted_standard_wants_it(pod: dict[str, Any]) -> None:
    """Source: Kubernetes, Pod Security Standards, "restricted"; and a root that is read-only."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert {one["mountPath"] for one in container["volumeMounts"]} == {"/tmp"}
    # An upload is spooled there, and shall never touch a disk.
    assert [one["emptyDir"]["medium"] for one in pod["volumes"]] == ["Memory"]


@pytest.mark.parametrize("service", ours())
def test_every_container_is_bound_as_tightly(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_user_of_the_image_is_the_one_that_is_named() -> None:
    assert "\nUSER 10001:10001\n" in dockerfile()
    assert {pod.values[0]["securityContext"]["runAsUser"] for pod in pods()} == {10001}


def test_only_the_server_has_a_way_out_and_only_this_machine_a_way_in() -> None:
    services = COMPOSE["services"]

    assert COMPOSE["networks"]["inner"] == {"internal": True}
    out = {name for name, one in services.items() if one["networks"] != ["inner"]}
    assert out == {"api", "prometheus"}
    ports = [port for one in services.values() for port in one.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert services["worker"]["environment"]["WEBHOOK_DELIVERY"] == "false"


def test_workers_reach_nothing_but_names_database_redis_and_storage() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in kinds("NetworkPolicy")}
    workers = [
        one
        for one in kinds("Deployment")
        if one["spec"]["template"]["metadata"]["labels"].get("tryonai/role") == "worker"
    ]

    assert len(workers) == 2
    assert policies["tryonai-nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    # All others that let anything out are for the servers' label, which a worker has not.
    outward = {name for name, spec in policies.items() if spec.get("egress")}
    assert outward == {"tryonai-stores", "tryonai-api"}
    names, stores = policies["tryonai-stores"]["egress"]
    assert {one["port"] for one in names["ports"]} == {53}
    assert {one["port"] for one in stores["ports"]} == {5432, 6379, 8333, 443}
    assert [one["ipBlock"]["cidr"] for one in stores["to"]] == ["10.0.0.0/8"]
    api = policies["tryonai-api"]["podSelector"]["matchLabels"]
    for worker in workers:
        labels = worker["spec"]["template"]["metadata"]["labels"]
        assert not api.items() <= labels.items()
        (container,) = worker["spec"]["template"]["spec"]["containers"]
        assert {"name": "WEBHOOK_DELIVERY", "value": "false"} in container["env"]


def test_a_worker_is_given_longer_than_a_run_may_take() -> None:
    timeout_s = DEFAULTS["ENGINE_TIMEOUT"]

    for one in kinds("Deployment"):
        if "worker" in one["metadata"]["name"]:
            pod = one["spec"]["template"]["spec"]
            assert pod["terminationGracePeriodSeconds"] >= 2 * timeout_s
    assert COMPOSE["services"]["worker"]["stop_grace_period"] == "180s"
    for scaled in kinds("ScaledObject"):
        assert scaled["spec"]["cooldownPeriod"] > timeout_s


def megabytes(size: str) -> int:
    units = {"Gi": 1024, "Mi": 1, "g": 1024, "m": 1}
    (number, unit) = re.fullmatch(r"(\d+)(\D+)", size).groups()  # type: ignore[union-attr]
    return int(number) * units[unit]


def test_an_engine_that_grows_is_ended_by_us_before_the_kernel_ends_its_pod() -> None:
    """With cgroups of version 2 it would end all processes of the container at once."""
    workers = [
        (container["args"], {one["name"]: one["value"] for one in container["env"]}, limit)
        for pod in pods()
        for container in pod.values[0]["containers"]
        if container["args"][0] == "worker"
        and (limit := container["resources"]["limits"]["memory"])
    ]
    composed = COMPOSE["services"]["worker"]
    workers.append((composed["command"], composed["environment"], composed["mem_limit"]))

    assert len(workers) == 3
    for command, settings, limit in workers:
        engines = int(_parser().parse_args(command).concurrency)
        assert engines * int(settings["ENGINE_MEMORY_MB"]) + 1024 <= megabytes(limit)


def test_a_drained_node_takes_neither_all_servers_nor_all_workers() -> None:
    budgets = [one["spec"] for one in kinds("PodDisruptionBudget")]

    for one in kinds("Deployment"):
        labels = one["spec"]["template"]["metadata"]["labels"].items()
        assert sum(budget["selector"]["matchLabels"].items() <= labels for budget in budgets) == 1


def test_every_command_exists() -> None:
    commands = [container["args"] for pod in pods() for container in pod.values[0]["containers"]]
    commands += [one.values[0]["command"] for one in ours()]

    for command in commands:
        _parser().parse_args(command)


def test_every_probe_asks_an_address_that_there_is(make_client: MakeClient) -> None:
    client = make_client()
    probes = {
        found
        for pod in pods()
        for container in pod.values[0]["containers"]
        for name, probe in container.items()
        if name.endswith("Probe") and (found := probe.get("httpGet", {}).get("path"))
    }

    assert probes == {"/api/health/live", "/api/health/ready"}
    assert "/api/health/live" in dockerfile()
    assert {client.get(path).status_code for path in probes} == {200}


def test_workers_are_counted_by_what_waits_and_what_is_in_work(shopper: Shopper, sql: Sql) -> None:
    shopper.submit()
    claimed, over = shopper.submit(), shopper.submit()
    sql("UPDATE tryon_sessions SET engine = 'warp'")
    sql("UPDATE tryon_sessions SET status = 'processing' WHERE id = :id", id=claimed)
    sql("UPDATE tryon_sessions SET expires_at = now() WHERE id = :id", id=over)

    counts = {
        one["metadata"]["name"]: sql(trigger["metadata"]["query"])
        for one in kinds("ScaledObject")
        for trigger in one["spec"]["triggers"]
    }

    assert counts == {"tryonai-worker": [(2,)], "tryonai-worker-gpu": [(0,)]}


def test_no_image_is_whatever_is_newest() -> None:
    images = [one["image"] for one in COMPOSE["services"].values()]
    images += re.findall(r"^FROM (\S+)", dockerfile(), re.M)

    assert len(images) >= 11
    for image in images:
        assert ":" in image
        assert not image.endswith(":latest")
