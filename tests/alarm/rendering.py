"""The files of `deploy/` with shorter times: the logic stays, nobody waits 20 minutes.

Rules: every `for` and every window (`[5m]`) is divided by `FASTER`. Thresholds stay, in seconds and in percent.
Alertmanager: every wait is divided by `FASTER`, too, but what was a minute or more stays at `LEAST` or above, because
gauges of the database are up to 5 seconds old in both worlds, and what inhibits a warning must arrive before it.
"""

import re
from typing import Any

import yaml

from monitoring import DEPLOY

FASTER = 20
LEAST = 12.0
WAITS = ("group_wait", "group_interval", "repeat_interval", "resolve_timeout")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(\d+)(ms|s|m|h)")


def shorter(duration: str, *, least: float = 0.0) -> str:
    """`5m` → `15s`; `least` seconds remain of a minute or more."""
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration))
    floor = least if seconds >= _UNITS["m"] else 0.0
    return f"{round(max(seconds / FASTER, floor) * 1000)}ms"


def rules() -> str:
    """`deploy/prometheus/rules.yml`, faster."""
    content = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
    for rule in (rule for group in content["groups"] for rule in group["rules"]):
        rule["expr"] = re.sub(r"\[(\w+)\]", lambda window: f"[{shorter(window[1])}]", rule["expr"])
        if "for" in rule:
            rule["for"] = shorter(rule["for"])
    return yaml.safe_dump(content, sort_keys=False)


def alertmanager(mail_server: str) -> str:
    """`deploy/alertmanager/alertmanager.yml`, faster, and with this mail server."""
    content = yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text())
    content["global"]["smtp_smarthost"] = mail_server
    for part in (content["global"], content["route"], *content["route"]["routes"]):
        _shorten(part)
    return yaml.safe_dump(content, sort_keys=False)


def _shorten(part: dict[str, Any]) -> None:
    for name in WAITS:
        if name in part:
            part[name] = shorter(part[name], least=LEAST)
