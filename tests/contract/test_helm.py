"""The Helm chart: it renders, Kubernetes' API accepts it, and it keeps what compose keeps."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from pydantic import SecretStr
from test_deployment import COMPOSE, ROOT, SERVICES, _section, _variables

import aigen_bridge
from aigen_bridge import metrics
from aigen_bridge.settings import DatabaseSettings, Settings
from aigen_bridge.settings.sections import CallbackSettings, WorkerSettings
from kubernetes import chart
from kubernetes.cases import BASES, BROKEN, CHART, DIFFERENT, FULL, MINIMAL, WORKING, Values, with_values
from kubernetes.chart import Answer, Manifest, environment, manifests, named, of_kind, pods
from monitoring import tool

OPENAPI = json.loads((ROOT / "openapi/aigen-bridge.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
READY_SECONDS = 3
"""`/health/ready` of the API answers within this time (docs/deployment.md)."""
UVICORN_DRAIN = 20
"""`timeout_graceful_shutdown` of `serve`."""
OWNED = {"AIGEN_WORKER__GRACE", "AIGEN_WORKER__METRICS_HOST", "AIGEN_WORKER__METRICS_PORT", "AIGEN_TLS__CLIENT_CA"}
"""Settings that the chart sets itself, or refuses."""


@pytest.fixture(scope="module")
def working() -> Answer:
    return chart.helm(WORKING, examined=True)


@pytest.fixture(scope="module")
def cases(working: Answer) -> dict[str, list[Manifest]]:
    return {name: manifests(rendered) for name, rendered in zip(WORKING, working.rendered, strict=True)}


@pytest.fixture
def full(cases: dict[str, list[Manifest]]) -> list[Manifest]:
    return cases["full"]


@pytest.fixture
def everything(cases: dict[str, list[Manifest]]) -> list[tuple[str, str, Manifest]]:
    """Each pod template of each case: the case, the component, the template."""
    return [(case, component, pod) for case, objects in cases.items() for component, pod in pods(objects)]


def secret_variables() -> set[str]:
    """The variables that hold a secret, alone or among other things."""

    def is_secret(annotation: Any) -> bool:
        return "SecretStr" in repr(annotation) or (
            annotation is not None
            and any(_holds_secret(kind) for kind in getattr(annotation, "__args__", ()) if isinstance(kind, type))
        )

    def walk(model: Any, prefix: str) -> Iterator[str]:
        for name, field in model.model_fields.items():
            variable = prefix + name.upper()
            if section := _section(field.annotation):
                yield from walk(section, f"{variable}__")
            elif is_secret(field.annotation):
                yield variable

    return set(walk(Settings, "AIGEN_"))


def _holds_secret(kind: type) -> bool:
    fields = getattr(kind, "model_fields", {})
    return any(field.annotation is SecretStr or "SecretStr" in repr(field.annotation) for field in fields.values())


# ---- Helm and the API


def test_helm_has_nothing_to_say_and_the_api_accepts_every_manifest(working: Answer) -> None:
    assert [rendered["error"] for rendered in working.rendered if "error" in rendered] == []
    assert (working.lint, working.invalid) == ([], [])


def test_values_that_cannot_work_are_refused_and_the_error_says_what_to_do() -> None:
    answer = chart.helm({name: values for name, (values, _) in BROKEN.items()})
    said = {name: rendered.get("error", "") for name, rendered in zip(BROKEN, answer.rendered, strict=True)}
    assert {name: said[name] for name, (_, expected) in BROKEN.items() if expected not in said[name]} == {}


def test_the_schema_knows_every_value_and_refuses_all_others() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    Draft7Validator.check_schema(schema)  # the newest that every Helm 3 reads
    assert "draft-07" in schema["$schema"]

    def compare(at: str, part: dict[str, Any], value: Any) -> None:
        if "properties" in part and "required" not in part:
            assert part["additionalProperties"] is False, at
            assert set(value) <= set(part["properties"]), at
            for name, inner in value.items():
                compare(f"{at}.{name}", part["properties"][name], inner)

    compare("", schema, DEFAULTS)
    assert set(DEFAULTS) | {"global"} == set(schema["properties"])


def _paths(values: dict[str, Any], before: str = "") -> Iterator[str]:
    """Yields the path of each value, such as `api.service.annotations`."""
    for name, value in values.items():
        if isinstance(value, dict) and value and name not in DIFFERENT:
            yield from _paths(value, f"{before}{name}.")
        else:
            yield before + name


def _changed(base: Values, path: str) -> Values:
    """Returns the values with another one at this path."""
    *sections, name = path.split(".")
    changed = inner = with_values(DEFAULTS, base)
    for section in sections:
        inner = inner[section]
    inner[name] = DIFFERENT.get(name, _another(inner[name]))
    return changed


def _another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 7 if isinstance(value, int) else {"a.example/b": "c"} if value == {} else "other"


CHANGED_ELSEWHERE = {"settings", "ingress.callback.host", "podSecurityContext.runAsNonRoot", "secrets.external.enabled"}
"""Values that must fit others."""


def test_every_value_makes_a_difference() -> None:
    paths = [path for path in _paths(DEFAULTS) if path not in CHANGED_ELSEWHERE]
    start_of = {path: next(start for start in BASES if path.startswith(start)) for path in paths}
    before = dict(zip(BASES, chart.helm(BASES).rendered, strict=True))
    changed = {path: _changed(BASES[start], path) for path, start in start_of.items()}
    after = dict(zip(paths, chart.helm(changed).rendered, strict=True))
    assert {path: made["error"] for path, made in after.items() if "error" in made} == {}
    assert len(paths) > 80
    assert [path for path in paths if after[path] == before[start_of[path]]] == []


def test_the_chart_has_the_version_of_the_service_and_starts_that_image(cases: dict[str, list[Manifest]]) -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["appVersion"] == aigen_bridge.__version__
    images = {pod["spec"]["containers"][0]["image"] for _, pod in pods(cases["minimal"])}
    assert images == {f"registry.example.com/aigen-bridge:{aigen_bridge.__version__}"}
    assert {pod["spec"]["containers"][0]["image"] for _, pod in pods(cases["digest"])} == {
        f"registry.example.com/aigen-bridge@sha256:{'a1' * 32}"
    }


def test_no_name_is_too_long_whatever_the_release_is_called() -> None:
    releases = "r" * 53, f"aigen-bridge-{'r' * 40}", f"{'r' * 41}-{'s' * 11}"
    for rendered in chart.helm({"full": FULL}, *releases).rendered:
        names = [one for one in manifests(rendered) if one["kind"] != "ConfigMap"]  # which may have longer ones
        assert [one["metadata"]["name"] for one in names if not _is_label(one)] == []


def _is_label(manifest: Manifest) -> bool:
    return re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", manifest["metadata"]["name"]) is not None


def test_a_release_whose_name_begins_with_a_digit_is_refused_unless_it_gets_another_name() -> None:
    named_otherwise = with_values(MINIMAL, {"fullnameOverride": "bridge"})
    refused, taken = chart.helm({"plain": MINIMAL, "named": named_otherwise}, "1st").rendered
    assert "set fullnameOverride" in refused["error"]
    assert "files" in taken


def test_two_releases_in_one_namespace_share_nothing(cases: dict[str, list[Manifest]]) -> None:
    other = manifests(chart.helm({"full": FULL}, "other").rendered[0])
    one, two = ({(each["kind"], each["metadata"]["name"]) for each in objects} for objects in (cases["full"], other))
    assert one & two == set()
    labels = [pod["metadata"]["labels"] for _, pod in pods(other)]
    for selector in _selectors(cases["full"]):
        assert not any(selector.items() <= each.items() for each in labels)


def test_an_upgrade_changes_no_selector(cases: dict[str, list[Manifest]]) -> None:
    """Kubernetes refuses another selector for a Deployment that exists."""
    selectors = {
        json.dumps([one["spec"]["selector"] for one in of_kind(objects, "Deployment")]) for objects in cases.values()
    }
    assert len(selectors) == 1
    assert "version" not in selectors.pop()


def test_what_the_schemas_do_not_see_is_right_too(cases: dict[str, list[Manifest]]) -> None:
    value = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
    for objects in cases.values():
        names = [(one["kind"], one["metadata"]["name"]) for one in objects]
        assert len(names) == len(set(names))
        for one in objects:
            assert one["metadata"]["namespace"] == "aigen"
            assert all(value.fullmatch(text) for text in one["metadata"]["labels"].values())
        for _, pod in pods(objects):
            spec, [container] = pod["spec"], pod["spec"]["containers"]
            for unique in (
                [each["name"] for each in container["env"]],
                [each["name"] for each in spec["volumes"]],
                [each["mountPath"] for each in container["volumeMounts"]],
            ):
                assert len(unique) == len(set(unique))
            assert all(len(port["name"]) <= 15 for port in container.get("ports", ()))
            sleep = container.get("lifecycle", {"preStop": {"sleep": {"seconds": 0}}})["preStop"]["sleep"]["seconds"]
            assert sleep < spec["terminationGracePeriodSeconds"]
        for one in of_kind(objects, "Ingress"):
            assert all(path["path"].startswith("/") for path in one["spec"]["rules"][0]["http"]["paths"])


# ---- pods


def test_no_container_has_rights_that_it_does_not_need(everything: list[tuple[str, str, Manifest]]) -> None:
    for case, _, pod in everything:
        spec, [container] = pod["spec"], pod["spec"]["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert case == "other user" or spec["securityContext"]["runAsUser"] == 10001
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]


def test_no_token_of_the_service_account_is_mounted(full: list[Manifest]) -> None:
    assert [one["automountServiceAccountToken"] for one in of_kind(full, "ServiceAccount")] == [False]


def test_the_user_is_that_of_the_image() -> None:
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text()


def test_no_container_gets_variables_of_services(everything: list[tuple[str, str, Manifest]]) -> None:
    """A Service `aigen-worker` would give every pod `AIGEN_WORKER_PORT`."""
    assert all(pod["spec"]["enableServiceLinks"] is False for _, _, pod in everything)


def test_what_a_container_writes_to_is_a_volume_of_its_own(everything: list[tuple[str, str, Manifest]]) -> None:
    for _, _, pod in everything:
        mounts = {one["mountPath"]: one["name"] for one in pod["spec"]["containers"][0]["volumeMounts"]}
        volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
        assert "emptyDir" in volumes[mounts["/tmp"]]  # noqa: S108 - in the container
        assert set(mounts.values()) <= set(volumes)


def test_pods_have_longer_to_stop_than_they_take(everything: list[tuple[str, str, Manifest]]) -> None:
    default = WorkerSettings().grace.total_seconds()
    for case, component, pod in everything:
        grace = pod["spec"]["terminationGracePeriodSeconds"]
        assert grace >= 35
        if component == "api":
            pause = pod["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert grace >= pause + UVICORN_DRAIN + 10
        if component == "worker":
            drain = int(environment(pod)["AIGEN_WORKER__GRACE"].removesuffix("s"))
            assert grace >= drain + 15
            assert case == "patient" or drain == default
    assert f"timeout_graceful_shutdown={UVICORN_DRAIN}," in (ROOT / "src/aigen_bridge/cli/run.py").read_text()


def test_each_probe_asks_what_its_process_answers(cases: dict[str, list[Manifest]]) -> None:
    for case, objects in cases.items():
        for component, pod in pods(objects):
            [container] = pod["spec"]["containers"]
            probes = {name: container[name]["httpGet"] for name in container if name.endswith("Probe")}
            expected = {"startupProbe": "/health/live", "livenessProbe": "/health/live"}
            if component == "api":
                expected["readinessProbe"] = "/health/ready"
                assert {probe["scheme"] for probe in probes.values()} == {"HTTPS" if case == "tls" else "HTTP"}
            assert {name: probe["path"] for name, probe in probes.items()} == (
                {} if component == "migrate" else expected
            )
            assert {probe["port"] for probe in probes.values()} <= {port["name"] for port in container.get("ports", ())}
            if component == "api":
                assert container["readinessProbe"]["timeoutSeconds"] > READY_SECONDS
            if component != "migrate":
                alive = container["livenessProbe"]
                assert alive["periodSeconds"] * alive["failureThreshold"] >= 30  # longer than a stall on a busy node
    assert {"/health/live", "/health/ready"} <= set(OPENAPI["paths"])


def test_processes_listen_where_the_probes_ask(everything: list[tuple[str, str, Manifest]]) -> None:
    for case, component, pod in everything:
        [container], address = pod["spec"]["containers"], "::" if case == "ipv6" else "0.0.0.0"  # noqa: S104
        [port] = container.get("ports", [{"containerPort": None}])
        if component == "api":
            assert container["args"] == ["serve", "--host", address, "--port", str(port["containerPort"])]
        if component == "worker":
            assert container["args"] == ["worker"]
            variables = environment(pod)
            assert (variables["AIGEN_WORKER__METRICS_HOST"], variables["AIGEN_WORKER__METRICS_PORT"]) == (
                address,
                str(port["containerPort"]),
            )


# ---- settings and secrets


def test_every_variable_is_a_setting_that_exists(everything: list[tuple[str, str, Manifest]]) -> None:
    known = {*_variables(Settings), "AIGEN_SECRETS_DIR", "HTTPS_PROXY"}
    assert {name for _, _, pod in everything for name in environment(pod)} - known == set()


def test_further_variables_reach_api_and_workers_only(cases: dict[str, list[Manifest]]) -> None:
    reached = {component for component, pod in pods(cases["environment"]) if "HTTPS_PROXY" in environment(pod)}
    assert reached == {"api", "worker"}


def test_every_setting_that_is_no_secret_can_be_given_and_reaches_api_and_workers() -> None:
    plain = {*_variables(Settings)} - secret_variables() - OWNED
    given = with_values(MINIMAL, {"settings": dict.fromkeys(plain, "1")})
    objects = manifests(chart.helm({"all": given}).rendered[0])
    for component, pod in pods(objects):
        reached = set(environment(pod)) & plain
        database = {name for name in plain if name.startswith(("AIGEN_DATABASE__", "AIGEN_LOG__"))}
        assert reached == (database if component == "migrate" else plain)


def test_every_secret_is_refused_among_the_settings() -> None:
    secrets = secret_variables()
    assert {"AIGEN_DATABASE_URL", "AIGEN_CLIENTS", "AIGEN_ODOOS", "AIGEN_ALERTS__URLS"} <= secrets
    [rendered] = chart.helm({"all": with_values(MINIMAL, {"settings": dict.fromkeys(secrets, "1")})}).rendered
    assert {name for name in secrets if f"{name} is a secret, or may hold one" not in rendered["error"]} == set()


def test_a_section_as_a_whole_is_refused_among_the_settings_because_it_may_hold_secrets() -> None:
    sections = {f"AIGEN_{name.upper()}" for name, field in Settings.model_fields.items() if _section(field.annotation)}
    assert {"AIGEN_N8N", "AIGEN_IMAGE_STORE"} <= sections
    [rendered] = chart.helm({"all": with_values(MINIMAL, {"settings": dict.fromkeys(sections, "{}")})}).rendered
    assert {name for name in sections if f"name its parts, {name}__…" not in rendered["error"]} == set()


def test_what_the_service_cannot_do_without_is_asked_for() -> None:
    required = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["required"]
    assert set(required) == set(_variables(Settings, needed=True)) - secret_variables()


def test_secrets_are_files_and_in_no_manifest(cases: dict[str, list[Manifest]]) -> None:
    for case, objects in cases.items():
        assert of_kind(objects, "Secret") == []
        for _, pod in pods(objects):
            [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == "secrets"]
            assert set(volume) - {"name"} == {"csi" if case == "files" else "projected"}
            [mount] = [one for one in pod["spec"]["containers"][0]["volumeMounts"] if one["name"] == "secrets"]
            assert mount["mountPath"] == environment(pod)["AIGEN_SECRETS_DIR"]
            assert "subPath" not in mount  # the kubelet would not renew it
            if case != "files":
                assert volume["projected"]["defaultMode"] == 0o440  # the image's user reads it by fsGroup


PAST_A_POOLER = "AIGEN_DATABASE__LISTEN_URL"


def _sources(pod: Manifest) -> list[tuple[str, str]]:
    """The Secrets of a pod, each with the file that it gets of it. `*`: all; with `?`: if there is one."""
    [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == "secrets"]
    sources = [source["secret"] for source in volume["projected"]["sources"]]
    return [
        (one["name"], item["path"] + "?" * one.get("optional", False))
        for one in sources
        for item in one.get("items", [{"path": "*"}])
    ]


@pytest.mark.parametrize(
    ("case", "secrets"),
    [
        ("minimal", [("aigen-bridge", f"{PAST_A_POOLER}?"), ("aigen-bridge", "AIGEN_DATABASE_URL")]),
        ("full", [("aigen-bridge", f"{PAST_A_POOLER}?"), ("aigen-db-app", "AIGEN_DATABASE_URL")]),
        ("external secret", [("bridge-aigen-bridge", f"{PAST_A_POOLER}?"), ("aigen-db-app", "AIGEN_DATABASE_URL")]),
        ("own role for migration", [("aigen-owner", "AIGEN_DATABASE_URL")]),
    ],
)
def test_the_migration_sees_the_database_and_nothing_else(
    cases: dict[str, list[Manifest]], case: str, secrets: list[tuple[str, str]]
) -> None:
    [migration] = [pod for component, pod in pods(cases[case]) if component == "migrate"]
    assert _sources(migration) == secrets
    known = {*_variables(DatabaseSettings), "AIGEN_SECRETS_DIR"}
    assert set(environment(migration)) <= known


def test_api_and_workers_see_all_secrets(cases: dict[str, list[Manifest]]) -> None:
    expected = [("aigen-bridge", "*"), ("aigen-db-app", "AIGEN_DATABASE_URL")]
    for component, pod in pods(cases["full"]):
        assert component == "migrate" or _sources(pod) == expected


# ---- the migration


def _hook(manifest: Manifest) -> tuple[str, int] | None:
    annotations = manifest["metadata"].get("annotations", {})
    return (
        (annotations["helm.sh/hook"], int(annotations["helm.sh/hook-weight"]))
        if "helm.sh/hook" in annotations
        else None
    )


def test_the_migration_runs_before_an_installation_and_before_each_upgrade(cases: dict[str, list[Manifest]]) -> None:
    for case, objects in cases.items():
        jobs = of_kind(objects, "Job")
        assert [job["spec"]["template"]["spec"]["containers"][0]["args"] for job in jobs] == (
            [] if case == "no migration" else [["restored"]] if case == "restored" else [["migrate"]]
        )
        assert all(_hook(job) == ("pre-install,pre-upgrade", 0) for job in jobs)


def test_after_a_restore_the_versions_are_raised_with_all_settings_before_anything_starts(
    cases: dict[str, list[Manifest]],
) -> None:
    [job] = of_kind(cases["restored"], "Job")
    pod = job["spec"]["template"]
    assert [one["args"] for one in pod["spec"]["initContainers"]] == [["migrate"]]
    [worker] = [each for component, each in pods(cases["restored"]) if component == "worker"]
    assert set(_variables(Settings, needed=True)) - secret_variables() <= set(environment(pod))
    assert _sources(pod) == _sources(worker)
    assert pod["spec"]["initContainers"][0]["securityContext"] == pod["spec"]["containers"][0]["securityContext"]


def test_what_the_migration_needs_of_the_release_is_there_before_it(cases: dict[str, list[Manifest]]) -> None:
    for case, objects in cases.items():
        before = [one for one in objects if (hook := _hook(one)) and one["kind"] != "Job" and hook[1] < 0]
        assert {one["kind"] for one in before} == ({"ExternalSecret"} if case == "external secret" else set()) | (
            {"NetworkPolicy"} if of_kind(objects, "NetworkPolicy") and case != "no migration" else set()
        )
        for job in of_kind(objects, "Job"):
            assert "serviceAccountName" not in job["spec"]["template"]["spec"]  # the release's comes later
            assert "configMap" not in json.dumps(job)
        for one in filter(_hook, objects):  # without this policy, Helm could not make them a second time
            policy = one["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
            succeeded = ",hook-succeeded" if one["kind"] == "Job" else ""  # pods still need the others
            assert policy == f"before-hook-creation{succeeded}"


def test_the_migration_may_wait_for_locks_as_long_as_it_does(full: list[Manifest]) -> None:
    [job] = of_kind(full, "Job")
    assert job["spec"]["activeDeadlineSeconds"] > 600
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert job["spec"]["backoffLimit"] > 0


def test_the_secret_outlives_the_external_secret_that_each_upgrade_makes_anew(cases: dict[str, list[Manifest]]) -> None:
    [secret] = of_kind(cases["external secret"], "ExternalSecret")
    assert secret["apiVersion"] == "external-secrets.io/v1"
    assert secret["spec"] == {
        "refreshInterval": "1h",
        "secretStoreRef": {"kind": "SecretStore", "name": "vault"},
        "target": {"name": "bridge-aigen-bridge", "creationPolicy": "Orphan", "deletionPolicy": "Retain"},
        "dataFrom": [{"extract": {"key": "aigen-bridge"}}],
    }
    for component, pod in pods(cases["external secret"]):
        assert component == "migrate" or (secret["spec"]["target"]["name"], "*") in _sources(pod)


# ---- availability


def _selectors(objects: list[Manifest]) -> Iterator[dict[str, str]]:
    for one in objects:
        spec = one.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if selector:
            yield selector.get("matchLabels", selector)


def test_every_selector_finds_the_pods_of_one_component(cases: dict[str, list[Manifest]]) -> None:
    for objects in cases.values():
        found = [*pods(objects)]
        services = [("api", one) for one in of_kind(objects, "Service")]
        for selector in _selectors(objects):
            matching = {component for component, pod in found if selector.items() <= pod["metadata"]["labels"].items()}
            matching |= {name for name, one in services if selector.items() <= one["metadata"]["labels"].items()}
            assert matching == {selector["app.kubernetes.io/component"]}


def test_every_deployment_has_a_budget_that_lets_nodes_be_drained(cases: dict[str, list[Manifest]]) -> None:
    for objects in cases.values():
        budgets = [one["spec"] for one in of_kind(objects, "PodDisruptionBudget")]
        assert [one["selector"] for one in budgets] == [
            one["spec"]["selector"] for one in of_kind(objects, "Deployment")
        ]
        assert all(one["maxUnavailable"] == 1 for one in budgets)
        # While the database is away, no API pod is ready.
        assert all(one["unhealthyPodEvictionPolicy"] == "AlwaysAllow" for one in budgets)


def test_pods_are_spread_over_zones_and_nodes(full: list[Manifest]) -> None:
    for component, pod in pods(full):
        spread = pod["spec"].get("topologySpreadConstraints", [])
        keys = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        assert [one["topologyKey"] for one in spread] == ([] if component == "migrate" else keys)
        for one in spread:
            assert one["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
            assert one["matchLabelKeys"] == ["pod-template-hash"]  # pods that an upgrade replaces do not count


def test_an_upgrade_takes_no_api_away_before_its_replacement_is_ready(full: list[Manifest]) -> None:
    assert named(full, "Deployment", "-api")["spec"]["strategy"]["rollingUpdate"] == {
        "maxUnavailable": 0,
        "maxSurge": 1,
    }


def test_whoever_scales_decides_alone_about_the_number_of_pods(cases: dict[str, list[Manifest]]) -> None:
    for one in of_kind(cases["full"], "Deployment"):
        assert "replicas" not in one["spec"]
    for one in of_kind(cases["minimal"], "Deployment"):
        assert one["spec"]["replicas"] == 2
    targets = [
        one["spec"]["scaleTargetRef"]["name"]
        for one in of_kind(cases["full"], "HorizontalPodAutoscaler", "ScaledObject")
    ]
    assert targets == [one["metadata"]["name"] for one in of_kind(cases["full"], "Deployment")]


def test_workers_are_scaled_by_what_waits_in_the_outbox(full: list[Manifest], tmp_path: Path) -> None:
    [scaled] = of_kind(full, "ScaledObject")
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert set(scaled["spec"]) == {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "fallback", "triggers"}
    [trigger] = scaled["spec"]["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    asked, known = trigger["metadata"], (ROOT / "src/aigen_bridge/api/metrics.py").read_text()
    assert all(isinstance(value, str) for value in asked.values())  # KEDA refuses anything else
    for metric in ("aigen_outbox_pending", "aigen_breaker_open", "aigen_destination_paused"):
        assert metric in asked["query"]
        assert f'"{metric}"' in known
    assert asked["ignoreNullValues"] == "true"  # the query has no result while N8N is away
    assert f'service="{named(full, "Service", "-api")["metadata"]["name"]}"' in asked["query"]


PENDING = 'aigen_outbox_pending{namespace="aigen", service="bridge-aigen-bridge-api", step="%s", odoo="%s", pod="%s"}'
N8N = '%s{namespace="aigen", service="bridge-aigen-bridge-api", destination="n8n", pod="a"}'


def _asked(full: list[Manifest], folder: Path, series: dict[str, int]) -> float | None:
    """Returns what Prometheus answers KEDA when it has these series; None: nothing."""
    [scaled] = of_kind(full, "ScaledObject")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    given = [{"series": name, "values": f"{value}x4"} for name, value in series.items()]
    expression = {"expr": query, "eval_time": "1m", "exp_samples": []}
    test = {"interval": "30s", "input_series": given, "promql_expr_test": [expression]}
    (folder / "test.yml").write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "30s", "tests": [test]}))
    done = subprocess.run(
        [tool("promtool"), "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    [got] = re.findall(r"got:.*?\{\} ([0-9.E+]+)", done.stdout + done.stderr, re.DOTALL)
    return float(got)


def test_entries_that_every_api_pod_reports_count_once_and_not_while_n8n_is_away(
    full: list[Manifest], tmp_path: Path
) -> None:
    series = {PENDING % (step, odoo, pod): 100 for step, odoo in (("dispatch", "a"), ("dispatch", "b")) for pod in "xy"}
    series |= {PENDING % ("mark", "", "x"): 50, PENDING % ("deliver", "a", "x"): 4000}
    assert _asked(full, tmp_path, series) == 250
    for away in ("aigen_breaker_open", "aigen_destination_paused"):
        assert _asked(full, tmp_path, series | {N8N % away: 0}) == 250
        assert _asked(full, tmp_path, series | {N8N % away: 1}) is None


# ---- networks


def test_the_size_of_bodies_is_that_of_the_service(cases: dict[str, list[Manifest]]) -> None:
    form = 256 * 2**10  # around an image that is uploaded in the console
    for case, largest in (("nginx", CallbackSettings().max_bytes), ("larger images", 67108864)):
        for one in of_kind(cases[case], "Ingress"):
            assert one["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == str(largest + form)


def test_ingress_nginx_waits_as_long_as_a_call_takes_and_buffers_no_body(cases: dict[str, list[Manifest]]) -> None:
    for one in of_kind(cases["nginx"], "Ingress"):
        annotations = one["metadata"]["annotations"]
        assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) >= 75
        assert annotations["nginx.ingress.kubernetes.io/proxy-request-buffering"] == "off"
        assert annotations["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTP"


def test_an_annotation_of_yours_wins(cases: dict[str, list[Manifest]]) -> None:
    entry_points = "traefik.ingress.kubernetes.io/router.entrypoints"
    main, callback = (named(cases["own entry point"], "Ingress", suffix) for suffix in ("-main", "-callback"))
    assert main["metadata"]["annotations"][entry_points] == "public"
    assert callback["metadata"]["annotations"][entry_points] == "websecure"


def _reaches(ingress: Manifest, path: str) -> bool:
    """Returns whether an Ingress has a rule for this path, as its controller reads it."""
    [rule] = ingress["spec"]["rules"]

    def matches(one: Manifest) -> bool:
        if one["pathType"] == "ImplementationSpecific":  # Traefik searches, nginx matches from the beginning
            return re.search(one["path"], path, re.IGNORECASE) is not None
        return path == one["path"] or path.startswith(f"{one['path']}/")

    return any(matches(one) for one in rule["http"]["paths"])


def _called_by_n8n(path: str) -> bool:
    """Returns whether deploy/proxy/nginx.conf asks for a client certificate there."""
    found = re.search(r"location ~ (\^/api/\S+\$) \{", (ROOT / "deploy/proxy/nginx.conf").read_text())
    assert found
    return re.match(found[1], path) is not None


PATHS = sorted({re.sub(r"\{\w+\}", "1b4e28ba", path) for path in OPENAPI["paths"]})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", ["full", "nginx"])
def test_what_n8n_sends_leads_past_its_certificate_and_the_rest_is_for_odoo_and_people(
    cases: dict[str, list[Manifest]], case: str, path: str
) -> None:
    main, callback = (named(cases[case], "Ingress", suffix) for suffix in ("-main", "-callback"))
    of_n8n, internal = _called_by_n8n(path), path.startswith("/health")
    for_older_workflows = path.endswith("/wanted")
    assert _reaches(main, path) is (not of_n8n and not internal and not for_older_workflows)
    assert _reaches(callback, path) or not (of_n8n or for_older_workflows)


def test_only_the_ingress_of_n8n_asks_for_a_certificate(cases: dict[str, list[Manifest]]) -> None:
    secret, required = "n8n-clients-ca", "RequireAndVerifyClientCert"
    for case, name, value in (
        (
            "full",
            "traefik.ingress.kubernetes.io/router.tls.options",
            "aigen-bridge-aigen-bridge-callback@kubernetescrd",
        ),
        ("nginx", "nginx.ingress.kubernetes.io/auth-tls-secret", f"aigen/{secret}"),
        ("nginx", "nginx.ingress.kubernetes.io/auth-tls-verify-client", "on"),
    ):
        main, callback = (named(cases[case], "Ingress", suffix) for suffix in ("-main", "-callback"))
        assert callback["metadata"]["annotations"][name] == value
        assert name not in main["metadata"]["annotations"]
    [option] = of_kind(cases["full"], "TLSOption")
    assert (option["apiVersion"], option["metadata"]["name"]) == ("traefik.io/v1alpha1", "bridge-aigen-bridge-callback")
    assert option["spec"] == {"clientAuth": {"secretNames": [secret], "clientAuthType": required}}


def test_the_controller_reads_the_paths_of_requests_as_a_pattern(cases: dict[str, list[Manifest]]) -> None:
    for case, name, value in (
        ("full", "traefik.ingress.kubernetes.io/router.pathmatcher", "PathRegexp"),
        ("nginx", "nginx.ingress.kubernetes.io/use-regex", "true"),
    ):
        assert named(cases[case], "Ingress", "-main")["metadata"]["annotations"][name] == value
    for one in of_kind(cases["other controller"], "Ingress"):
        assert {path["pathType"] for path in one["spec"]["rules"][0]["http"]["paths"]} == {"Prefix"}


def test_no_encoded_slash_leads_past_the_certificate_of_n8n(full: list[Manifest]) -> None:
    """Traefik matches paths in which `%2F` is still encoded; the service decodes it."""
    requests = "/api/v1/influencegen/ai-image-requests/1b4e28ba"
    assert not _reaches(named(full, "Ingress", "-main"), f"{requests}%2Fgeneration")
    assert not _reaches(named(full, "Ingress", "-main"), f"{requests}%2Fgeneration/image")


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/redoc", "/openapi.json", "/health/live", "/"])
def test_what_is_internal_is_exposed_nowhere(cases: dict[str, list[Manifest]], path: str) -> None:
    assert not any(_reaches(one, path) for case in cases.values() for one in of_kind(case, "Ingress"))


def test_the_console_is_exposed_only_when_it_is_asked_for(cases: dict[str, list[Manifest]]) -> None:
    assert _reaches(named(cases["full"], "Ingress", "-main"), "/console/requests")
    assert not any(_reaches(one, "/console") for one in of_kind(cases["other controller"], "Ingress"))
    assert not _reaches(named(cases["full"], "Ingress", "-callback"), "/console")


def test_an_ingress_leads_to_a_port_of_the_service_and_that_to_one_of_the_pods(full: list[Manifest]) -> None:
    [service] = of_kind(full, "Service")
    [port] = service["spec"]["ports"]
    for one in of_kind(full, "Ingress"):
        backends = [path["backend"]["service"] for path in one["spec"]["rules"][0]["http"]["paths"]]
        assert {(each["name"], each["port"]["name"]) for each in backends} == {
            (service["metadata"]["name"], port["name"])
        }
    [container] = named(full, "Deployment", "-api")["spec"]["template"]["spec"]["containers"]
    assert port["targetPort"] in {each["name"] for each in container["ports"]}


def _peers(full: list[Manifest], component: str, direction: str) -> list[Any]:
    rules = named(full, "NetworkPolicy", f"-{component}")["spec"].get(direction, [])
    return [peer for rule in rules for peer in rule["to" if direction == "egress" else "from"]]


def test_each_process_meets_whom_it_must_and_nobody_else(full: list[Manifest]) -> None:
    policy = with_values(DEFAULTS, FULL)["networkPolicy"]
    dns, database, internet = (policy[name]["to"] for name in ("dns", "database", "internet"))
    systems = policy["n8n"]["to"] + policy["odoo"]["to"]
    assert _peers(full, "api", "egress") == [*dns, *database, *internet]
    api, worker = (
        {"podSelector": {"matchLabels": dict(named(full, "Deployment", suffix)["spec"]["selector"]["matchLabels"])}}
        for suffix in ("-api", "-worker")
    )
    assert _peers(full, "worker", "egress") == [*dns, *database, *systems, *internet, api]
    assert _peers(full, "migrate", "egress") == [*dns, *database]
    assert _peers(full, "api", "ingress") == [*policy["callers"], *policy["scrapers"], worker]
    assert _peers(full, "worker", "ingress") == policy["scrapers"]
    assert _peers(full, "migrate", "ingress") == []
    for component in ("api", "worker", "migrate"):
        names, server, *_ = named(full, "NetworkPolicy", f"-{component}")["spec"]["egress"]
        assert [(port["protocol"], port["port"]) for port in names["ports"]] == [("UDP", 53), ("TCP", 53)]
        assert server["ports"] == [{"protocol": "TCP", "port": 5432}]


def test_every_policy_is_about_both_directions_and_no_rule_means_anyone(cases: dict[str, list[Manifest]]) -> None:
    for objects in cases.values():
        for one in of_kind(objects, "NetworkPolicy"):
            assert one["spec"]["policyTypes"] == ["Ingress", "Egress"]
            assert all(rule["from"] and rule["ports"] for rule in one["spec"].get("ingress", []))
            assert all(rule["to"] for rule in one["spec"]["egress"])


def test_policies_let_callers_in_at_ports_that_the_pods_have(full: list[Manifest]) -> None:
    for component, pod in pods(full):
        rules = named(full, "NetworkPolicy", f"-{component}")["spec"].get("ingress", [])
        allowed = {port["port"] for rule in rules for port in rule["ports"]}
        assert allowed == {port["name"] for port in pod["spec"]["containers"][0].get("ports", ())}


# ---- monitoring


def test_prometheus_scrapes_both_under_the_names_that_the_alerts_know(cases: dict[str, list[Manifest]]) -> None:
    jobs = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    known = [job["job_name"] for job in jobs if job["job_name"].startswith("aigen")]
    [service], [pod] = (of_kind(cases["token"], kind) for kind in ("ServiceMonitor", "PodMonitor"))
    assert {service["apiVersion"], pod["apiVersion"]} == {"monitoring.coreos.com/v1"}
    endpoints = [*service["spec"]["endpoints"], *pod["spec"]["podMetricsEndpoints"]]
    assert [one["relabelings"][0] for one in endpoints] == [
        {"targetLabel": "job", "replacement": name} for name in known
    ]
    assert [one["port"] for one in endpoints] == ["http", "metrics"]
    assert {one["path"] for one in endpoints} == {"/metrics"}
    for case, scheme in (("token", "http"), ("tls", "https")):
        [monitor] = of_kind(cases[case], "ServiceMonitor")
        assert [one["scheme"] for one in monitor["spec"]["endpoints"]] == [scheme]
    assert all(one["authorization"] == {"credentials": {"name": "metrics", "key": "token"}} for one in endpoints)


GIVEN_BY_THE_OPERATOR = {"namespace", "service", "pod", "container", "endpoint", "job"}
"""Labels that the Prometheus Operator gives every target. A metric's label of that name becomes `exported_…`."""


def test_no_label_of_a_target_displaces_one_of_a_metric(full: list[Manifest]) -> None:
    labels = {name for metric in vars(metrics).values() for name in getattr(metric, "_labelnames", ())}
    assert {"endpoint", "step"} <= labels
    for one in of_kind(full, "ServiceMonitor", "PodMonitor"):
        for endpoint in one["spec"].get("endpoints", one["spec"].get("podMetricsEndpoints")):
            dropped = {each["regex"] for each in endpoint["relabelings"] if each.get("action") == "labeldrop"}
            assert dropped == labels & GIVEN_BY_THE_OPERATOR


def test_the_packed_chart_has_everything(working: Answer) -> None:
    assert working.packed == working.rendered[0]
    assert of_kind(manifests(working.packed), "PrometheusRule")


def test_the_alerts_and_dashboards_are_those_of_deploy(full: list[Manifest]) -> None:
    assert (CHART / "files/rules.yml").resolve() == ROOT / "deploy/prometheus/rules.yml"
    assert (CHART / "files/dashboards").resolve() == ROOT / "deploy/grafana/dashboards"
    [rules] = of_kind(full, "PrometheusRule")
    assert rules["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
    shown = {name: json.loads(text) for one in of_kind(full, "ConfigMap") for name, text in one["data"].items()}
    files = (ROOT / "deploy/grafana/dashboards").glob("*.json")
    assert shown == {path.name: json.loads(path.read_text()) for path in files}
    assert {one["metadata"]["labels"]["grafana_dashboard"] for one in of_kind(full, "ConfigMap")} == {"1"}


# ---- like compose


def test_pods_get_what_compose_gives_its_containers(everything: list[tuple[str, str, Manifest]]) -> None:
    bridge = SERVICES["api"]
    assert bridge["mem_limit"] == "1g"
    assert bridge["tmpfs"] == ["/tmp:mode=1777,size=64m"]  # noqa: S108 - in the container
    assert int(bridge["stop_grace_period"].removesuffix("s")) >= 35
    for _, _, pod in everything:
        assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "1Gi"
        [tmp] = [one["emptyDir"] for one in pod["spec"]["volumes"] if one["name"] == "tmp"]
        assert tmp == {"medium": "Memory", "sizeLimit": "64Mi"}
    logged = {environment(pod).get("AIGEN_LOG__FORMAT") for _, _, pod in everything}
    assert logged == {COMPOSE["x-bridge-environment"]["AIGEN_LOG__FORMAT"]}
