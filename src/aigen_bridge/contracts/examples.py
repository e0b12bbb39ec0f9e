"""Real payloads for the documentation and the tests. The image is a real 64x64 PNG."""

from typing import Any

REQUEST_ID = "5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11"
CORRELATION_ID = "9b2f1b0e-2d64-4c0e-8a39-6d1f0e4b7c55"

REQUESTED: dict[str, Any] = {
    "requestId": REQUEST_ID,
    "correlationId": CORRELATION_ID,
    "userId": "0d9c1a52-7d0b-4a3f-8f2e-3f1c9b7a6e21",
    "prompt": "A lighthouse above a stormy sea at dusk, oil painting, warm window light",
    "negativePrompt": "text, watermark",
    "modelId": "c2b7f0d4-11e5-4c7a-9d38-7a5e2f9b1c60",
    "resolution": "1024x1024",
    "aspectRatio": "1:1",
    "seed": 20250613,
    "inferenceSteps": 28,
    "cfgScale": 3.5,
    "campaignId": "7e4d2c1b-5a69-4f38-b7c6-1d0e9f8a2b34",
}
MODEL: dict[str, Any] = {
    "name": "Watercolor",
    "description": "Soft edges and visible paper.",
    "provider": {"kind": "fal", "endpoint": "https://queue.fal.run/fal-ai/flux-lora"},
    "loras": [{"path": "https://models.example.com/watercolor.safetensors", "scale": 0.9}],
    "supports": {"negativePrompt": False, "seed": True},
    "steps": {"min": 10, "max": 50, "default": 28},
    "cfgScale": {"min": 1, "max": 20, "default": 3.5},
    "resolutions": ["1024x1024", "1152x896", "896x1152"],
    "price": {"amount": "0.035", "currency": "USD", "per": "megapixel"},
    "active": True,
}
DISPATCHED: dict[str, Any] = REQUESTED | {
    "callbackUrl": "https://bridge.example.com/api/v1/influencegen/ai-image-callback"
}
FAILED: dict[str, Any] = {
    "requestId": REQUEST_ID,
    "correlationId": CORRELATION_ID,
    "status": "failed",
    "errorCode": "content_policy_violation",
    "errorMessage": "The prompt was flagged by the safety checker.",
}

GENERATION_ASK: dict[str, Any] = {
    "correlationId": CORRELATION_ID,
    "executionId": "231",
    "askKey": "0c5e6a52b1f44d6c",
}
GENERATION_ASKS: dict[str, Any] = {
    "before the submission": {"value": GENERATION_ASK},
    "the provider refused the submission": {"value": GENERATION_ASK | {"askKey": "77d1a5b09c3e4f28", "noJob": True}},
    "the job ended unbilled": {
        "value": GENERATION_ASK | {"askKey": "e4b8f6d20a914c3b", "endedJob": "764cabcf-b745-4b3e-ae38-1200304cf45b"}
    },
}
GENERATION_JOB: dict[str, Any] = {
    "correlationId": CORRELATION_ID,
    "executionId": "231",
    "provider": "fal",
    "jobId": "764cabcf-b745-4b3e-ae38-1200304cf45b",
    "statusUrl": "https://queue.fal.run/fal-ai/flux-lora/requests/764cabcf-b745-4b3e-ae38-1200304cf45b/status",
    "responseUrl": "https://queue.fal.run/fal-ai/flux-lora/requests/764cabcf-b745-4b3e-ae38-1200304cf45b",
    "cancelUrl": "https://queue.fal.run/fal-ai/flux-lora/requests/764cabcf-b745-4b3e-ae38-1200304cf45b/cancel",
}
GENERATION_PROGRESS: dict[str, Any] = {
    "correlationId": CORRELATION_ID,
    "executionId": "231",
    "stage": "queued",
    "queuePosition": 3,
}

N8N_FAILURE: dict[str, Any] = {
    "workflow": "aigen-main",
    "workflowVersion": "1.2.0",
    "executionId": "231",
    "executionUrl": "https://n8n.example.com/workflow/aigen-main/executions/231",
    "requestId": REQUEST_ID,
    "correlationId": CORRELATION_ID,
    "errorMessage": "The callback could not be delivered in 4 tries. Last: no answer (connect ECONNREFUSED).",
    "result": FAILED,
}

IMAGE_BASE64 = (
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAgMAAADXB5lNAAAADFBMVEUSNFbwyFD6+voAAAC6RXiLAAAAmklEQVR42u2QMQ7CMAxF"
    "X0OzM1AGTpM70B6SjSPkKD0AQ3YqmcFWE0pbdQB1wYPz/fX/txX411w1nQGnjw+0ig76XKE691lRARwLywnAF0TI3U3XuTHCQhxA"
    "Db6FetmiC9U5r/gggg1hu+UbRLQhbrckxbKsGBQPIyFKpJXDYu5KPACehULycsu4g8S3rMttcnqSn3/hKrFTvQBptxYXZQf34gAA"
    "AABJRU5ErkJggg=="
)
COMPLETED: dict[str, Any] = {
    "requestId": REQUEST_ID,
    "correlationId": CORRELATION_ID,
    "status": "completed",
    "imageData": IMAGE_BASE64,
    "imageMetadata": {"format": "png", "size": 235, "width": 64, "height": 64},
    "hashValue": "9ea440fc92efe6d2f555ada21cc7e229c51e67f9cd627415f264e9675f23c7d8",
}
FACTS: dict[str, Any] = {
    "generation": {
        "provider": "fal",
        "jobId": "764cabcf-b745-4b3e-ae38-1200304cf45b",
        "model": "fal-ai/flux-lora",
        "seed": 20250613,
        "seconds": 3.1,
        "negativePrompt": "folded",
        "hasNsfwConcepts": [False],
    },
    "cost": {"amount": "0.035", "currency": "USD", "basis": "estimated", "units": 1, "unit": "image"},
}
COMPLETED_URL: dict[str, Any] = (
    {name: value for name, value in COMPLETED.items() if name != "imageData"}
    | {
        "imageUrl": "https://v3.fal.media/files/lion/9hx2.png",
        "resultExpiresAt": "2030-06-13T12:06:00Z",
        "payloadVersion": "1.1",
    }
    | FACTS
)
COMPLETED_BESIDE: dict[str, Any] = {name: value for name, value in COMPLETED.items() if name != "imageData"} | FACTS
"""For v2, where the image is a separate part."""

BUDGET: dict[str, Any] = {
    "limit": "100.00",
    "currency": "USD",
    "period": "month",
    "kind": "hard",
    "match": {"campaignId": REQUESTED["campaignId"]},
    "contact": "marketing@example.com",
}
