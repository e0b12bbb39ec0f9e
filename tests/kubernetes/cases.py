"""The ways in which the tests render the chart: values that work, and values that cannot."""

import copy
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "deploy/helm/aigen-bridge"

Values = dict[str, Any]


def with_values(base: Values, more: Values) -> Values:
    """Returns the values, with `more` laid over them as Helm does."""
    merged = copy.deepcopy(base)
    for name, value in more.items():
        inner = merged.get(name)
        merged[name] = with_values(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return merged


def _example(name: str) -> Values:
    return dict(yaml.safe_load((CHART / f"ci/{name}-values.yaml").read_text()))


MINIMAL, FULL = _example("minimal"), _example("full")
PLACED: Values = {
    "podAnnotations": {"example.com/team": "images"},
    "podLabels": {"team": "images"},
    "priorityClassName": "high",
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
}
NO_SECRETS: Values = {"secrets": {"existingSecret": ""}}

WORKING: dict[str, Values] = {
    "full": FULL,
    "minimal": MINIMAL,
    "object store": _example("object-store"),
    "restored": with_values(FULL, {"restored": True}),
    "stopped": with_values(MINIMAL, {"api": {"replicas": 0}, "worker": {"replicas": 0}}),
    "digest": with_values(MINIMAL, {"image": {"digest": f"sha256:{'a1' * 32}", "pullSecrets": ["registry"]}}),
    "tag": with_values(MINIMAL, {"image": {"tag": "1.2.3", "pullPolicy": "Always"}}),
    "ipv6": with_values(MINIMAL, {"listenAddress": "::"}),
    "other user": with_values(
        MINIMAL, {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
    ),
    "placed": with_values(FULL, {"api": PLACED, "worker": PLACED, "migrate": PLACED}),
    "external secret": with_values(
        FULL,
        {
            "secrets": {
                "existingSecret": "",
                "external": {
                    "enabled": True,
                    "store": {"name": "vault"},
                    "dataFrom": [{"extract": {"key": "aigen-bridge"}}],
                },
            }
        },
    ),
    "files": with_values(
        MINIMAL,
        {
            "secrets": {
                "existingSecret": "",
                "volume": {"csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": True}},
            }
        },
    ),
    "own role for migration": with_values(FULL, {"migrate": {"databaseUrl": {"secret": "aigen-owner", "key": "uri"}}}),
    "no migration": with_values(FULL, {"migrate": {"enabled": False}}),
    "no account": with_values(MINIMAL, {"serviceAccount": {"create": False}}),
    "own account": with_values(MINIMAL, {"serviceAccount": {"create": False, "name": "mine"}}),
    "tls": with_values(
        FULL,
        {
            "settings": {"AIGEN_TLS__CERTIFICATE": "/tls/tls.crt", "AIGEN_TLS__KEY": "/tls/tls.key"},
            "extraVolumes": [{"name": "tls", "secret": {"secretName": "bridge-tls"}}],
            "extraVolumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
        },
    ),
    "nginx": with_values(FULL, {"ingress": {"controller": "nginx", "main": {"annotations": {"a.example/b": "c"}}}}),
    "own entry point": with_values(
        FULL, {"ingress": {"main": {"annotations": {"traefik.ingress.kubernetes.io/router.entrypoints": "public"}}}}
    ),
    "other controller": with_values(
        FULL,
        {
            "ingress": {
                "controller": "other",
                "main": {"console": False},
                "callback": {"clientCaSecret": "", "annotations": {"example.com/mtls": "n8n"}},
            }
        },
    ),
    "one host": with_values(
        FULL,
        {
            "settings": {"AIGEN_PUBLIC_URL": "https://bridge.example.com:443"},
            "ingress": {"callback": {"host": "bridge.example.com", "clientCaSecret": ""}},
        },
    ),
    "larger images": with_values(
        FULL, {"settings": {"AIGEN_CALLBACK__MAX_BYTES": "67108864"}, "ingress": {"controller": "nginx"}}
    ),
    "patient": with_values(FULL, {"worker": {"drainSeconds": 60}, "api": {"preStopSeconds": 15}}),
    "token": with_values(FULL, {"monitoring": {"monitors": {"tokenSecret": {"name": "metrics", "key": "token"}}}}),
    "own query": with_values(
        FULL, {"worker": {"autoscaling": {"query": "vector(1)", "authenticationRef": {"name": "prometheus"}}}}
    ),
    "policy with mail": with_values(
        FULL,
        {"networkPolicy": {"scrapers": [], "extraEgress": [{"to": [{"ipBlock": {"cidr": "203.0.113.9/32"}}]}]}},
    ),
    "environment": with_values(MINIMAL, {"extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]}),
    "folder": with_values(
        MINIMAL,
        {
            "settings": {"AIGEN_IMAGE_STORE__URL": "file:///images"},
            "extraVolumes": [{"name": "images", "persistentVolumeClaim": {"claimName": "images"}}],
            "extraVolumeMounts": [{"name": "images", "mountPath": "/images"}],
        },
    ),
}

PEERS = [{"ipBlock": {"cidr": "192.0.2.1/32"}}]
DIFFERENT: Values = {
    "affinity": {"nodeAffinity": {}},
    "annotations": {"a.example/b": "c"},
    "authenticationRef": {"name": "prometheus"},
    "callers": PEERS,
    "controller": "nginx",
    "data": [{"secretKey": "AIGEN_CLIENTS"}],
    "dataFrom": [{"extract": {"key": "other"}}],
    "digest": f"sha256:{'a1' * 32}",
    "extraEgress": [{"to": PEERS}],
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraVolumeMounts": [{"name": "tmp", "mountPath": "/other"}],
    "extraVolumes": [{"name": "other", "emptyDir": {}}],
    "interval": "99s",
    "keys": ["other"],
    "kind": "ClusterSecretStore",
    "labels": {"a.example/b": "c"},
    "listenAddress": "::",
    "minReplicas": 3,
    "ports": [1234],
    "prometheusUrl": "http://other",
    "pullPolicy": "Always",
    "pullSecrets": ["other"],
    "resources": {"requests": {"cpu": "2"}},
    "scrapers": PEERS,
    "seccompProfile": {"type": "Localhost", "localhostProfile": "other"},
    "to": PEERS,
    "tokenSecret": {"name": "other", "key": "token"},
    "tolerations": [{"key": "other"}],
    "volume": {"csi": {"driver": "other"}},
    "whenUnsatisfiable": "DoNotSchedule",
}
"""For values whose schema does not allow just anything, by their last name: other ones than the default and in FULL."""
BASES: dict[str, Values] = {
    "api.replicas": MINIMAL,
    "worker.replicas": MINIMAL,
    "secrets.external": WORKING["external secret"],
    "secrets.volume": with_values(MINIMAL, NO_SECRETS),
    "migrate.databaseUrl": WORKING["own role for migration"],
    "monitoring.dashboards": FULL,
    "": with_values(FULL, {"monitoring": {"dashboards": {"enabled": False}}}),  # which are large
}
"""The values in which a value is changed, by the beginning of its path. The first one counts."""

BROKEN: dict[str, tuple[Values, str]] = {
    "nothing": ({}, "missing properties 'AIGEN_PUBLIC_URL', 'AIGEN_N8N__WEBHOOK_URL'"),
    "unknown value": (with_values(MINIMAL, {"images": {}}), "additional properties 'images' not allowed"),
    "unknown inner value": (with_values(MINIMAL, {"api": {"replica": 3}}), "additional properties 'replica'"),
    "number": (with_values(MINIMAL, {"settings": {"AIGEN_CALLBACK__MAX_BYTES": 33554432}}), "got number, want string"),
    "not a setting": (with_values(MINIMAL, {"settings": {"ODOO_URL": "x"}}), "does not match pattern '^AIGEN_"),
    "scaled to nothing": (with_values(MINIMAL, {"worker": {"autoscaling": {"minReplicas": 0}}}), "got 0, want 1"),
    "restored alone": (
        with_values(MINIMAL, {"restored": True, "migrate": {"enabled": False}}),
        "restored is a part of the migration",
    ),
    "root": (with_values(MINIMAL, {"podSecurityContext": {"runAsNonRoot": False}}), "must be true"),
    "short grace": (with_values(MINIMAL, {"worker": {"drainSeconds": 5}}), "got 5, want 15"),
    "latest": (with_values(MINIMAL, {"image": {"tag": "latest"}}), "image.tag must name a version"),
    "no secrets": (with_values(MINIMAL, NO_SECRETS), "No secrets: set secrets.existingSecret"),
    "two sources": (
        with_values(MINIMAL, {"secrets": {"volume": {"csi": {"driver": "x"}}}}),
        "Several sources of secrets",
    ),
    "url beside files": (
        with_values(MINIMAL, NO_SECRETS | {"secrets": {"volume": {"csi": {}}, "databaseUrl": {"secret": "db"}}}),
        "databaseUrl cannot be added",
    ),
    "external without store": (
        with_values(MINIMAL, {"secrets": {"existingSecret": "", "external": {"enabled": True, "data": [{}]}}}),
        "secrets.external.store.name is missing",
    ),
    "external without data": (
        with_values(
            MINIMAL, {"secrets": {"existingSecret": "", "external": {"enabled": True, "store": {"name": "vault"}}}}
        ),
        "secrets.external reads nothing",
    ),
    "setting in the environment": (
        with_values(MINIMAL, {"extraEnv": [{"name": "AIGEN_CLIENTS", "value": "{}"}]}),
        "extraEnv has AIGEN_CLIENTS",
    ),
    "setting in small letters": (
        with_values(MINIMAL, {"extraEnv": [{"name": "aigen_clients", "value": "{}"}]}),
        "extraEnv has aigen_clients",
    ),
    "address without TLS": (
        with_values(FULL, {"settings": {"AIGEN_PUBLIC_URL": "http://bridge-callback.example.com"}}),
        "AIGEN_PUBLIC_URL must begin with https://",
    ),
    "grace twice": (with_values(MINIMAL, {"settings": {"AIGEN_WORKER__GRACE": "9s"}}), "set worker.drainSeconds"),
    "certificates of all": (
        with_values(MINIMAL, {"settings": {"AIGEN_TLS__CLIENT_CA": "/ca"}}),
        "would refuse the probes of the kubelet",
    ),
    "folder of one pod": (
        with_values(MINIMAL, {"settings": {"AIGEN_IMAGE_STORE__URL": "file:///images"}}),
        "mount a volume there that all pods share",
    ),
    "no host": (with_values(MINIMAL, {"ingress": {"main": {"enabled": True}}}), "ingress.main.host is missing"),
    "address elsewhere": (
        with_values(FULL, {"settings": {"AIGEN_PUBLIC_URL": "https://bridge.example.com"}}),
        "AIGEN_PUBLIC_URL must lead to ingress.callback.host (bridge-callback.example.com)",
    ),
    "certificates on a shared host": (
        with_values(
            FULL,
            {
                "settings": {"AIGEN_PUBLIC_URL": "https://bridge.example.com"},
                "ingress": {"callback": {"host": "bridge.example.com"}},
            },
        ),
        "needs another host than ingress.main",
    ),
    "certificates without TLS": (
        with_values(FULL, {"ingress": {"callback": {"tlsSecret": ""}}}),
        "without TLS, callers cannot",
    ),
    "certificates elsewhere": (
        with_values(FULL, {"ingress": {"controller": "other"}}),
        "clientCaSecret works with the controllers traefik and nginx only",
    ),
    "no console": (with_values(FULL, {"settings": {"AIGEN_CONSOLE__ENABLED": "false"}}), "switches it off"),
    "policy without callers": (with_values(FULL, {"networkPolicy": {"callers": []}}), "networkPolicy.callers is empty"),
    "policy without database": (
        with_values(FULL, {"networkPolicy": {"database": {"to": []}}}),
        "networkPolicy.database.to is empty",
    ),
    "more at least than at most": (
        with_values(FULL, {"api": {"autoscaling": {"minReplicas": 9}}}),
        "api.autoscaling.minReplicas is more than maxReplicas",
    ),
    "scaling by nothing": (
        with_values(FULL, {"worker": {"autoscaling": {"prometheusUrl": ""}}}),
        "worker.autoscaling.prometheusUrl is missing",
    ),
    "labels that select": (
        with_values(MINIMAL, {"api": {"podLabels": {"app.kubernetes.io/component": "mine"}}}),
        "invalid propertyName 'app.kubernetes.io/component'",
    ),
    "half a token": (
        with_values(FULL, {"monitoring": {"monitors": {"tokenSecret": {"name": "metrics"}}}}),
        "properties 'key' required, if 'name' exists",
    ),
    "no metrics": (with_values(FULL, {"settings": {"AIGEN_METRICS__ENABLED": "false"}}), "needs metrics"),
}
