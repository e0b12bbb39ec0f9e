"""Settings of the simulated N8N."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aigen_bridge.sim.drawing import ImageFormat
from aigen_bridge.sim.n8n_signatures import key_of

CallbackStyle = Literal["v1", "v1-url", "v2"]
AiMode = Literal["queue", "sync"]


@dataclass(frozen=True, kw_only=True)
class Price:
    """The AI service's price, as in the workflow's settings."""

    amount: str
    """A decimal."""
    currency: str
    per: Literal["image", "megapixel"] = "image"


@dataclass(frozen=True, kw_only=True)
class N8nSettings:
    """Behaviour of the simulated N8N and its workflow.

    Raises ValueError for a flux_url without flux_key, and for a malformed signing secret.
    """

    key: str = field(repr=False)
    """Key that callers of the webhook send as `X-API-Key`."""
    callback_key: str = field(repr=False)
    """Key that the workflow sends to the callback as `X-API-Key`."""
    signing_secret: str | None = field(default=None, repr=False)
    """`whsec_<base64>`: secret of the callbacks' Standard Webhooks signature; None: callbacks are not signed."""
    webhook_signing_secret: str | None = field(default=None, repr=False)
    """`whsec_<base64>`: secret with which the bridge signs its requests; anything else is refused with 401. None: the
    webhook checks the key only."""
    flux_url: str | None = None
    """Base URL of the AI service; None: the simulator draws the images itself."""
    flux_key: str | None = field(default=None, repr=False)
    """Key of the AI service."""
    callback_style: CallbackStyle = "v1"
    """`v1` base64 in JSON, `v1-url` a temporary URL in JSON, `v2` multipart."""
    bridge_url: str | None = None
    """The bridge that the workflow is configured for. Results are sent only to it. It is asked before an image is made,
    and it receives reports of what could not be delivered. None: the bridge is the one of the event's callbackUrl; it
    is asked only when the workflow `speaks`, and it receives no reports."""
    speaks: bool = True
    """The workflow speaks the generation protocol: it asks before the paid work, names its job and reports progress.
    False: the workflow of the version before, which only asks whether the image is wanted, and calls synchronously."""
    ai_mode: AiMode = "queue"
    """How a workflow that `speaks` calls the AI service: `queue` submits a job and polls it, `sync` waits for the
    output. Images that the simulator draws itself are always synchronous."""
    ai_origins: tuple[str, ...] = ()
    """Origins beside that of `flux_url` at which the models of the bridge's catalogue may have their endpoints: the key
    of the AI service is sent to no other."""
    stands_in: bool = False
    """The AI service at `flux_url` stands in for all others: models with endpoints elsewhere are called there,
    synchronously, because the URLs of a job must have the origin of the model's endpoint."""
    loras: Mapping[str, Mapping[str, Any] | None] = field(default_factory=lambda: {"*": None})
    """LoRAs by model id: `{"path", "scale"}`, or None for the base model. `*` stands for every other model id. An order
    with an entry of the bridge's catalogue does not use them."""
    negative_prompt: Literal["report", "fold"] = "report"
    """Treatment of the negative prompt, which the model does not support: omitted and reported, or folded into the
    prompt."""
    price: Price | None = None
    """What an image costs; sent as an estimated `cost`. None: no cost is sent."""
    image_format: ImageFormat = "png"
    """The format that is requested from the AI service."""
    seconds: float = 0.0
    """Duration of a generation when the simulator draws the image itself."""
    url_lifetime: float = 360.0
    """Seconds until the URL of an image that the simulator drew itself expires."""
    public_url: str | None = None
    """Base of those URLs; None: the host that the webhook's caller used."""
    starting_seconds: float = 0.0
    """Seconds at startup in which every path responds with 200 and N8N's start page. The real N8N migrates its database
    during this time: 0.1 s on an ordinary restart, 2 to 5 s on an empty database."""
    no_webhook_seconds: float = 0.0
    """Seconds after that in which the webhook responds with 404; 4 to 8 s in the real N8N."""
    ack_status: int = 202
    """HTTP status of the acknowledgement."""
    ack_seconds: float = 0.0
    """Duration of the acknowledgement. The execution starts after it."""
    ai_waits: tuple[float, ...] = (5.0, 5.0)
    """Seconds before each retry of the AI call. Its length is the number of retries."""
    ai_timeout: float = 60.0
    """Timeout of one AI call, in seconds."""
    submit_timeout: float = 30.0
    """Timeout of a submission to the AI service's queue, in seconds."""
    callback_waits: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Seconds before each retry of the callback. Its length is the number of retries."""
    failure_waits: tuple[float, ...] = (5.0, 15.0, 70.0, 120.0, 300.0, 900.0, *[3600.0] * 24)
    """Seconds before each retry of a failure report to the bridge."""
    ask_timeout: float = 5.0
    """Timeout of every call to the bridge before the callback, in seconds."""
    ask_wait: float = 5.0
    """Seconds until a question that the bridge did not answer is sent again."""
    ask_for: float = 120.0
    """Seconds for which the workflow asks a bridge that does not answer. Then it ends without a callback."""
    name_for: float = 120.0
    """Seconds for which a finished job waits for its name to be taken."""
    wait_for: float = 600.0
    """Seconds for which the workflow asks again while the bridge answers `wait`."""
    poll_waits: tuple[float, ...] = (0.0, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 5.0)
    """Seconds before each poll of a job; the last value is repeated."""
    repeat_progress: float = 10.0
    """Seconds after which progress that has not changed is reported again; 0: at every poll."""
    poll_for: float = 120.0
    """Seconds for which the workflow polls an AI service that does not answer. Then it ends without a callback."""
    callback_timeout: float = 60.0
    """Timeout of one callback, in seconds."""
    max_executions: int = 50
    """Concurrent executions; further ones wait."""
    executions_path: Path | None = None
    """File that lists the running executions; a killed simulator reports the dead ones at its next start. None: the
    list is kept in memory, and survives closing and serving the simulator again in the same process."""
    crash_reports: float = 1.0
    """Probability, from 0 to 1, that a dead execution is reported at the next start. The real N8N reports only some."""
    seed: int = 0
    """Seed for faults with a `chance`, for `crash_reports`, and for images of requests without
    a seed."""

    def __post_init__(self) -> None:
        if self.flux_url is not None and self.flux_key is None:
            raise ValueError("a flux_url needs a flux_key")
        for secret in filter(None, (self.signing_secret, self.webhook_signing_secret)):
            key_of(secret)
