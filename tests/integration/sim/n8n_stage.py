"""What the tests of N8N share: keys, the callbacks' schemas, and what a callback must be true about."""

import hashlib
import hmac
import io

import jsonschema
import pybase64
from PIL import Image

from aigen_bridge.sim.n8n import N8nSettings

N8N_KEY = "key-of-the-webhook"
CALLBACK_KEY = "key-of-the-callback"
FLUX_KEY = "key-of-the-ai-service"
WEBHOOK = "/webhook/aigen/v1/generate"
SECRET = "whsec_" + pybase64.b64encode(b"a secret of 24 bytes.....").decode()
UUID = {"type": "string", "format": "uuid"}
METADATA = {
    "type": "object",
    "properties": {"format": {"type": "string"}} | {n: {"type": "integer"} for n in ("size", "width", "height")},
    "required": ["format", "size", "width", "height"],
}
VERSIONS = {name: {"type": "string"} for name in ("payloadVersion", "workflowVersion")}
GENERATION = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("provider", "jobId", "model", "lora")},
        "seed": {"type": "integer", "minimum": 0},
        "seconds": {"type": "number", "minimum": 0},
        "negativePrompt": {"enum": ["used", "folded", "ignored"]},
        "hasNsfwConcepts": {"type": "array", "items": {"type": "boolean"}},
    },
    "additionalProperties": False,
}
COST = {
    "type": "object",
    "properties": {
        "amount": {"type": "string", "pattern": r"^\d{1,12}(\.\d{1,9})?$"},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "basis": {"enum": ["billed", "estimated"]},
        "units": {"type": "number"},
        "unit": {"type": "string"},
    },
    "required": ["amount", "currency", "basis"],
    "additionalProperties": False,
}
COMPLETED = {
    "type": "object",
    "properties": {
        "requestId": UUID,
        "correlationId": UUID,
        "executionId": {"type": "string"},
        **VERSIONS,
        "status": {"const": "completed"},
        "imageData": {"type": "string", "contentEncoding": "base64"},
        "imageUrl": {"type": "string", "format": "uri"},
        "imageMetadata": METADATA,
        "hashValue": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "generation": GENERATION,
        "cost": COST,
    },
    "required": ["requestId", "correlationId", "status", "imageMetadata", "hashValue"],
    "additionalProperties": False,
}
FAILED = {
    "type": "object",
    "properties": {
        "requestId": UUID,
        "correlationId": UUID,
        "executionId": {"type": "string"},
        **VERSIONS,
        "status": {"const": "failed"},
        "errorCode": {"type": "string"},
        "errorMessage": {"type": "string"},
        "generation": GENERATION,
        "cost": COST,
    },
    "required": ["requestId", "correlationId", "status", "errorMessage"],
    "additionalProperties": False,
}


def settings(**changes):
    quick = {"ai_waits": (0.01, 0.01), "callback_waits": (0.01, 0.02, 0.04), "poll_waits": (0.01,)}
    return N8nSettings(key=N8N_KEY, callback_key=CALLBACK_KEY, **(quick | changes))


def checked(event, schema):
    jsonschema.validate(event, schema, format_checker=jsonschema.FormatChecker())
    return event


def assert_describes(event, content):
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        kind = image.format.lower()
    assert event["imageMetadata"] == {"format": kind, "size": len(content), "width": width, "height": height}
    assert event["hashValue"] == hashlib.sha256(content).hexdigest()


def assert_signed(letter, content):
    head = f"{letter.headers['webhook-id']}.{letter.headers['webhook-timestamp']}.".encode()
    key = pybase64.b64decode(SECRET.removeprefix("whsec_"))
    expected = pybase64.b64encode(hmac.digest(key, head + content, "sha256")).decode()
    assert letter.headers["webhook-signature"] == f"v1,{expected}"
