"""Image, compose and Kubernetes manifests: what they name is there, and they are what Kubernetes takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils
from starlette.applications import Starlette

from taskqueue.cli import COMMANDS
from taskqueue.cli.web import TOKEN
from taskqueue.consume.consumer import GRACE
from taskqueue.consume.health import Board
from taskqueue.consume.page import _app
from taskqueue.errors import BrokerUnreachable, ConfigError
from taskqueue.settings import Settings, parse
from taskqueue.settings.ini import ENVIRONMENT, PLACES
from taskqueue.web.access import Access
from taskqueue.web.app import _Outside, make
from taskqueue.web.jobs import _LEAVING as LEAVING
from taskqueue.web.place import Place
from taskqueue.web.serve import GRACE as PAGE_GRACE

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text(encoding="utf-8"))
KUBERNETES = DEPLOY / "kubernetes"
FOLDERS = (KUBERNETES, *sorted(path for path in KUBERNETES.iterdir() if path.is_dir()))
_OF_KUBERNETES = {"v1", "apps/v1", "batch/v1", "policy/v1"}
PORT, PAGE = 9100, 8181


def manifests(*folders: Path) -> dict[str, dict[str, Any]]:
    """Give every object of some folders, by its kind."""
    found = {}
    for folder in folders:
        for name in kustomization(folder)["resources"]:
            for each in yaml.safe_load_all((folder / name).read_text(encoding="utf-8")):
                assert each["kind"] not in found
                found[each["kind"]] = each
    return found


def kustomization(folder: Path) -> Any:
    """Read what says which files of a folder count."""
    return yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))


OF_THE_PAGE = KUBERNETES / "web"
MANIFESTS = manifests(*(each for each in FOLDERS if each != OF_THE_PAGE))
WEB = manifests(OF_THE_PAGE)
RUN = MANIFESTS["Deployment"]["spec"]["template"]
DECLARE = MANIFESTS["Job"]["spec"]["template"]
PAGE_POD = WEB["Deployment"]["spec"]["template"]["spec"]
WORKLOADS = pytest.mark.parametrize(
    "pod", [RUN["spec"], DECLARE["spec"], PAGE_POD], ids=["run", "declare", "web"]
)


def configured(path: Path, **variables: str) -> Settings:
    """Read a configuration as a consumer does, with these environment variables and no others."""
    return parse(path.read_text(encoding="utf-8"), source=str(path), environ=variables)


def images() -> Iterator[str]:
    """Give every name of an image."""
    stages = re.findall(r" AS (\w+)", DOCKERFILE)
    yield from (each for each in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) if each not in stages)
    for path in sorted(DEPLOY.rglob("*.yaml")):
        yield from re.findall(r"^\s*image: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_no_image_names_a_host() -> None:
    """Which registry they come from is its user's business."""
    names = list(images())
    assert len(names) > 5
    for name in names:
        assert re.fullmatch(r"[a-z]+(:[\w.${}-]+)?", name), name


def test_kubernetes_takes_each_object() -> None:
    """By its own schemas, without a field that there is not; each file counts."""
    own = [each for each in MANIFESTS.values() if each["apiVersion"] in _OF_KUBERNETES]
    assert {each["kind"] for each in own} == {"Deployment", "Job", "Service", "PodDisruptionBudget"}
    assert set(WEB) == {"Deployment", "Service"}
    own += WEB.values()
    known = [version for version in utils.all_versions() if int(version.split(".")[1]) >= 30]
    for each in own:
        for version in {known[0], known[-1]}:
            kubernetes_validate.validate(each, version, strict=True)
    for folder in FOLDERS:
        files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert files == set(kustomization(folder)["resources"])


def test_kustomize_puts_them_together(tmp_path: Path) -> None:
    """The base with its components, as the docs have it, by kubectl itself."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl")
    base = tmp_path / "deploy" / "kubernetes"
    shutil.copytree(KUBERNETES, base)
    docs = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    (overlay,) = re.findall(r"```yaml\n(# .*overlay.*?)```", docs, re.DOTALL)
    (tmp_path / "kustomization.yaml").write_text(overlay)
    (tmp_path / "taskqueue.ini").write_text("# another\n")
    built: dict[str, Any] = {}
    page: dict[str, Any] = {}
    for folder in (tmp_path, base / "rabbitmq"):
        done = subprocess.run(
            [kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        for each in yaml.safe_load_all(done.stdout):
            (page if each["metadata"]["name"] == "taskqueue-web" else built)[each["kind"]] = each
    assert set(built) == {*MANIFESTS, "ConfigMap"}
    assert set(page) == set(WEB)
    run = built["Deployment"]["spec"]
    # KEDA says how many there are.
    assert "replicas" not in run
    held = run["template"]["spec"]["volumes"][0]["configMap"]["name"]
    assert held == built["ConfigMap"]["metadata"]["name"]
    assert built["ConfigMap"]["data"]["taskqueue.ini"] == "# another\n"
    labels = run["template"]["metadata"]["labels"].items()
    for chosen in (
        run["selector"]["matchLabels"],
        built["Service"]["spec"]["selector"],
        built["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert chosen.items() <= labels
    assert not chosen.items() <= built["Job"]["spec"]["template"]["metadata"]["labels"].items()
    pod = page["Deployment"]["spec"]["template"]
    assert pod["spec"]["volumes"][0]["configMap"]["name"] == held
    assert pod["spec"]["containers"][0]["image"] == run["template"]["spec"]["containers"][0]["image"]
    assert page["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    for other in (built["Service"]["spec"]["selector"], run["selector"]["matchLabels"]):
        assert not other.items() <= pod["metadata"]["labels"].items()
    assert {each["metadata"]["namespace"] for each in page.values()} == {"taskqueue"}
    wanted = built["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= built["Service"]["metadata"]["labels"].items()


@WORKLOADS
def test_each_container_gets_what_its_command_needs(pod: dict[str, Any]) -> None:
    """The command is one of ours, the ini lies where it looks, and each variable of the ini is set."""
    (container,) = pod["containers"]
    assert container["args"][0] in COMMANDS
    variables = {each["name"]: "amqp://user:secret@rabbitmq:5672/" for each in container["env"]}
    assert configured(KUBERNETES / "taskqueue.ini", **variables).queues
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts["config"] == str(PLACES[0].parent)
    assert {each["name"] for each in pod["volumes"]} == set(mounts)
    secret = container["env"][0]["valueFrom"]["secretKeyRef"]["name"]
    assert secret == f"{MANIFESTS['RabbitmqCluster']['metadata']['name']}-default-user"


@WORKLOADS
def test_each_container_may_next_to_nothing(pod: dict[str, Any]) -> None:
    """What Kubernetes calls the restricted standard, and a root that can't be written."""
    (container,) = pod["containers"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert "memory" in container["resources"]["limits"]


def test_the_image_runs_as_nobody_and_finds_the_ini() -> None:
    """What it copies is there and not ignored; the default command is the consumer."""
    user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user
    assert "0" not in user[-1]
    assert f"{ENVIRONMENT}={PLACES[0]}" in DOCKERFILE
    assert 'ENTRYPOINT ["taskqueue"]\nCMD ["run"]\n' in DOCKERFILE
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    ignored = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    with (ROOT / "pyproject.toml").open(encoding="utf-8") as file:
        (version,) = re.findall(r'^version = "(.+)"', file.read(), re.MULTILINE)
    (image,) = kustomization(KUBERNETES)["images"]
    assert image == {"name": "taskqueue", "newTag": version}


def test_all_ask_the_page_for_what_it_has() -> None:
    """The port of the ini, and paths that it answers: probes, the health check and Prometheus."""
    probes = [
        RUN["spec"]["containers"][0][f"{kind}Probe"]["httpGet"]
        for kind in ("startup", "liveness", "readiness")
    ]
    asked = [(each["port"], each["path"]) for each in probes]
    asked += [(each["port"], each["path"]) for each in MANIFESTS["ServiceMonitor"]["spec"]["endpoints"]]
    ports = {port["name"]: port["containerPort"] for port in RUN["spec"]["containers"][0]["ports"]}
    (served,) = MANIFESTS["Service"]["spec"]["ports"]
    assert (served["name"], served["port"], served["targetPort"]) == ("metrics", PORT, "metrics")
    (url,) = re.findall(r"http://\S+?(?=')", DOCKERFILE)
    asked.append((urlsplit(url).port, urlsplit(url).path))
    statuses: list[str] = []
    app = _app(lambda _environ, start: start("200 OK", []) or [], Board())
    for port, path in asked:
        assert ports.get(port, port) == PORT
        app({"PATH_INFO": path}, lambda status, _headers: statuses.append(status))
    assert not [status for status in statuses if status.startswith("404")]
    assert [path for _, path in asked] == ["/healthz", "/healthz", "/readyz", "/metrics", "/healthz"]
    assert f"EXPOSE {PORT}" in DOCKERFILE
    for ini in (KUBERNETES / "taskqueue.ini", DEPLOY / "docker" / "taskqueue.ini"):
        found = configured(ini, RABBITMQ_URL="amqp://h/", RABBITMQ_PASSWORD="p", BASE_URL="https://a")
        assert found.metrics == f"0.0.0.0:{PORT}"


def test_all_ask_taskqueue_web_for_what_it_has() -> None:
    """Its port, which others reach only by a token; a path that it answers to all; one of it at a time."""
    (container,) = PAGE_POD["containers"]
    listen = ["web", "--listen", f"0.0.0.0:{PAGE}"]
    service = COMPOSE["services"]["web"]
    assert container["args"] == service["command"] == listen
    assert [each["containerPort"] for each in container["ports"]] == [PAGE]
    (served,) = WEB["Service"]["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (PAGE, container["ports"][0]["name"])
    assert service["ports"] == [f"127.0.0.1:{PAGE}:{PAGE}"]
    (url,) = re.findall(r"http://\S+?(?=')", service["healthcheck"]["test"][-1])
    asked = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")]
    assert urlsplit(url).netloc == f"127.0.0.1:{PAGE}"
    app = make(Settings(), Access("0123456789abcdef", open_counts=False), Place())
    assert isinstance(app, _Outside)
    assert isinstance(app._app, Starlette)
    assert {*asked, urlsplit(url).path} <= {getattr(each, "path", "") for each in app._app.routes}
    assert TOKEN in {each["name"] for each in container["env"]}
    assert TOKEN in service["environment"]
    assert WEB["Deployment"]["spec"]["replicas"] == 1
    assert WEB["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert "web" in extras.split(",")


def test_whoever_stops_the_page_waits_longer_than_its_grace() -> None:
    """Answers end within one, and acts that are stopped within another."""
    unit = (DEPLOY / "taskqueue-web.service").read_text(encoding="utf-8")
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    compose = COMPOSE["services"]["web"]["stop_grace_period"].removesuffix("s")
    for given in (PAGE_POD["terminationGracePeriodSeconds"], int(seconds), int(compose)):
        assert given >= PAGE_GRACE + LEAVING + 5


def test_whoever_stops_a_consumer_waits_longer_than_its_grace() -> None:
    """Else what runs is cut off, and runs again."""
    (unit,) = re.findall(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "taskqueue.service").read_text(), re.MULTILINE)
    patience = COMPOSE["services"]["run"]["stop_grace_period"]
    for given in (RUN["spec"]["terminationGracePeriodSeconds"], int(unit), int(patience.removesuffix("s"))):
        assert given >= GRACE + 20


def test_nobody_tries_an_unusable_configuration_again() -> None:
    """By its exit code, and by no other: a broker may come."""
    (unit,) = {
        found
        for name in ("taskqueue", "taskqueue-web")
        for found in re.findall(
            r"^RestartPreventExitStatus=(.+)$", (DEPLOY / f"{name}.service").read_text(), re.MULTILINE
        )
    }
    (rule,) = MANIFESTS["Job"]["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["containerName"] == DECLARE["spec"]["containers"][0]["name"]
    assert rule["onExitCodes"]["values"] == [int(unit)] == [ConfigError.exit_code]
    assert BrokerUnreachable.exit_code not in rule["onExitCodes"]["values"]


def test_every_broker_has_the_one_setting() -> None:
    """Without it tasks may be 3 minutes late after a restart."""
    lines = (DEPLOY / "advanced.config").read_text(encoding="utf-8").splitlines()
    term = "".join(line for line in lines if not line.startswith("%"))
    assert MANIFESTS["RabbitmqCluster"]["spec"]["rabbitmq"]["advancedConfig"].strip() == term
    broker = COMPOSE["services"]["rabbitmq"]
    assert "../advanced.config:/etc/rabbitmq/advanced.config:ro" in broker["volumes"]
    assert (DEPLOY / "docker" / "../advanced.config").exists()
    docs = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    (name, value) = re.findall(r"\{(\w+), (\d+)\}", term)[0]
    assert f'-rabbit {name} {value}"' in docs


def test_compose_declares_before_it_runs() -> None:
    """With what its ini needs, and as little as in Kubernetes."""
    services = COMPOSE["services"]
    assert set(services) == {"rabbitmq", "declare", "run", "web"}
    assert [name for name in services if "profiles" in services[name]] == ["web"]
    for name in ("declare", "run", "web"):
        service = services[name]
        assert service["command"][0] == name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert (DEPLOY / "docker" / service["build"]["context"]).resolve() == ROOT
        variables = {"RABBITMQ_PASSWORD": "p", "BASE_URL": "https://app.example.com"}
        assert set(service["environment"]) - {TOKEN} == set(variables)
        settings = configured(DEPLOY / "docker" / "taskqueue.ini", **variables)
        assert {urlsplit(server).hostname for server in settings.servers} <= set(services)
    assert services["declare"]["depends_on"] == {"rabbitmq": {"condition": "service_healthy"}}
    assert services["run"]["depends_on"] == {"declare": {"condition": "service_completed_successfully"}}
    assert services["rabbitmq"]["healthcheck"]["test"][0] == "CMD"


def test_the_autoscaler_counts_what_runs_too() -> None:
    """Over the management API, of a queue of the ini, for the Deployment that there is."""
    scaled = MANIFESTS["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == MANIFESTS["Deployment"]["metadata"]["name"]
    assert scaled["minReplicaCount"] == 1
    (trigger,) = scaled["triggers"]
    metadata = trigger["metadata"]
    assert (trigger["type"], metadata["protocol"], metadata["mode"]) == ("rabbitmq", "http", "QueueLength")
    assert metadata["excludeUnacknowledged"] == "false"
    assert metadata["queueName"] in configured(KUBERNETES / "taskqueue.ini", RABBITMQ_URL="amqp://h/").queues
    assert trigger["authenticationRef"]["name"] == MANIFESTS["TriggerAuthentication"]["metadata"]["name"]
