"""The files of `deploy/` with shorter times and the same logic, because a test cannot wait 20 minutes.

Rules: every `for` and every window (`[5m]`) is divided by `FASTER`. Thresholds, in seconds and in percent, stay.
Alertmanager: every wait is divided by `FASTER`, too, but one of a minute or more stays at `LEAST` or above. The gauges
of the database are up to 5 seconds old with either timing, and an inhibiting alert must arrive before the warning.
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
    """Divides a duration: `5m` → `15s`. One of a minute or more stays at `least` seconds or above."""
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration))
    floor = least if seconds >= _UNITS["m"] else 0.0
    return f"{round(max(seconds / FASTER, floor) * 1000)}ms"


def rules() -> str:
    """Returns `deploy/prometheus/rules.yml` with shorter times."""
    content = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
    for rule in (rule for group in content["groups"] for rule in group["rules"]):
        rule["expr"] = re.sub(r"\[(\w+)\]", lambda window: f"[{shorter(window[1])}]", rule["expr"])
        if "for" in rule:
            rule["for"] = shorter(rule["for"])
    return yaml.safe_dump(content, sort_keys=False)


def alertmanager(mail_server: str) -> str:
    """Returns `deploy/alertmanager/alertmanager.yml` with shorter times and this mail server."""
    content = yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text())
    content["global"]["smtp_smarthost"] = mail_server
    for part in (content["global"], content["route"], *content["route"]["routes"]):
        _shorten(part)
    return yaml.safe_dump(content, sort_keys=False)


def _shorten(part: dict[str, Any]) -> None:
    for name in WAITS:
        if name in part:
            part[name] = shorter(part[name], least=LEAST)
