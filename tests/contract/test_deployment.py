"""docker-compose.yml, the Dockerfile and the deploy scripts against what the service really reads and needs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aigen_bridge.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BRIDGE = ["migrate", "api", "worker"]
BY_HAND = {"AIGEN_ODOO__API_KEY": "made in Odoo"}
SECRET_NAME = re.compile(r"KEY|PASSWORD|SECRET|TOKEN")


def _names(model: type[BaseModel], prefix: str, *, required: bool = False) -> Iterator[str]:
    """The variables that a settings model reads; or only those that it cannot do without."""
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        section = _section(field)
        if section:
            yield from (
                () if required and not field.is_required() else _names(section, f"{variable}__", required=required)
            )
        elif field.is_required() or not required:
            yield variable


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kinds = field.annotation, *get_args(field.annotation)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


LEGAL = {*_names(Settings, "AIGEN_"), "AIGEN_CLIENTS", "AIGEN_SECRETS_DIR"}
REQUIRED = {
    "AIGEN_CLIENTS" if name.startswith("AIGEN_CLIENTS") else name
    for name in _names(Settings, "AIGEN_", required=True)
}


def _provided(service: dict[str, Any]) -> set[str]:
    return {*service.get("environment", {}), *service.get("secrets", [])}
