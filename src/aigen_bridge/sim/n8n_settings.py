"""How the simulated N8N behaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aigen_bridge.sim.drawing import ImageFormat

CallbackStyle = Literal["v1", "v1-url", "v2"]


@dataclass(frozen=True, kw_only=True)
class N8nSettings:
    """How the simulated N8N and its workflow behave. Raises ValueError for a flux_url without flux_key."""

    key: str = field(repr=False)
    """What callers of the webhook send as `X-API-Key`."""
    callback_key: str = field(repr=False)
    """What the workflow sends to the callback as `X-API-Key`."""
    signing_secret: str | None = field(default=None, repr=False)
    """`whsec_<base64>`: callbacks carry a Standard Webhooks signature; None: they carry none."""
    flux_url: str | None = None
    """Base URL of the AI service; None: the simulator draws the pictures itself."""
    flux_key: str | None = field(default=None, repr=False)
    """Key of the AI service."""
    callback_style: CallbackStyle = "v1"
    """`v1` base64 in JSON, `v1-url` a temporary URL in JSON, `v2` multipart."""
    bridge_url: str | None = None
    """The bridge that the workflow is set up for: results go nowhere else, it is asked before an image is made, and
    told what could not be delivered. None: results go where the event says, nobody is asked and nobody told."""
    loras: Mapping[str, Mapping[str, Any] | None] = field(default_factory=lambda: {"*": None})
    """The table of models: `{"path", "scale"}` by model id; `*` is every other one, None the base model."""
    negative_prompt: Literal["report", "fold"] = "report"
    """What happens to it, because the model knows none: left out and reported, or folded into the prompt."""
    image_format: ImageFormat = "png"
    """What the AI service is asked for."""
    seconds: float = 0.0
    """How long a generation takes when the simulator draws itself."""
    url_lifetime: float = 360.0
    """Seconds that an image URL lives when the simulator draws itself."""
    public_url: str | None = None
    """Base of those URLs; None: the host that the webhook's caller addressed."""
    starting_seconds: float = 0.0
    """Seconds after the start for which every path answers 200 with N8N's start page, while the real one migrates its
    database: 0.1 on an ordinary restart, 2 to 5 on an empty database."""
    no_webhook_seconds: float = 0.0
    """Seconds after that for which the webhook answers 404; 4 to 8 with the real one."""
    ack_status: int = 202
    """HTTP status of the acknowledgement."""
    ack_seconds: float = 0.0
    """How long the acknowledgement takes; the execution starts after it."""
    ai_waits: tuple[float, ...] = (5.0, 5.0)
    """Seconds before each retry of the AI call; the length is the number of retries."""
    ai_timeout: float = 60.0
    """Seconds that one AI call may take."""
    callback_waits: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Seconds before each retry of the callback; the length is the number of retries."""
    failure_waits: tuple[float, ...] = (5.0, 15.0, 70.0, 120.0, 300.0, 900.0, *[3600.0] * 24)
    """Seconds before each retry of telling the bridge what could not be delivered."""
    ask_timeout: float = 5.0
    """Seconds that the bridge may take to say whether an image is still wanted."""
    callback_timeout: float = 60.0
    """Seconds that one callback may take."""
    max_executions: int = 50
    """Executions at once; the others wait."""
    executions_path: Path | None = None
    """File that keeps which executions run, so that a killed simulator reports the dead ones at its next start. None:
    a simulator that is closed and served again in one process remembers them."""
    seed: int = 0
    """Of faults that happen by chance, and of pictures for requests without a seed."""

    def __post_init__(self) -> None:
        if self.flux_url is not None and self.flux_key is None:
            raise ValueError("a flux_url needs a flux_key")
