"""A workflow from before the shipped one: version 1, base64, unsigned, without questions to the bridge or versions."""

from itertools import pairwise
from typing import Any
from uuid import NAMESPACE_URL, uuid5

EVENT = """
const { requestId, correlationId, callbackUrl } = $('Webhook').first().json.body;
const { base64, size, width, height } = $('Base64').first().json;
const event = {
  requestId, correlationId, status: 'completed', imageData: base64,
  imageMetadata: { format: 'png', size, width, height }, hashValue: $input.first().json.hash,
};
return [{ json: { event: JSON.stringify(event), callbackUrl, correlationId } }];
"""
BASE64 = """
const bytes = await this.helpers.getBinaryDataBuffer(0, 'data');
const { width, height } = $('AI').first().json.images[0];
const json = { base64: bytes.toString('base64'), size: bytes.length, width, height };
return [{ json, binary: $input.first().binary }];
"""
QUESTION = "={{ JSON.stringify({ prompt: $json.body.prompt, image_size: 'square', output_format: 'png' }) }}"
HEADERS = {
    "parameters": [{"name": "X-Correlation-ID", "value": "={{ $json.body?.correlationId ?? $json.correlationId }}"}]
}
HEADER_AUTH = {"authentication": "genericCredentialType", "genericAuthType": "httpHeaderAuth"}
FILE = {"response": {"response": {"responseFormat": "file"}}}


def old_workflow(ai_url: str, path: str, credentials: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns the workflow; `credentials` are references as in the shipped workflow, by purpose."""
    webhook = {"httpMethod": "POST", "path": path, "authentication": "headerAuth", "responseMode": "onReceived"}
    ask = HEADER_AUTH | {"method": "POST", "url": ai_url, "sendBody": True, "specifyBody": "json", "jsonBody": QUESTION}
    fetch = {"url": "={{ $json.images[0].url }}", "options": FILE}
    hashed = {"type": "SHA256", "binaryData": True, "dataPropertyName": "hash"}
    raw = {"contentType": "raw", "rawContentType": "application/json", "body": "={{ $json.event }}"}
    report = HEADER_AUTH | raw | {"method": "POST", "url": "={{ $json.callbackUrl }}", "sendBody": True}
    headers = {"sendHeaders": True, "headerParameters": HEADERS}
    nodes = [
        _node("Webhook", "webhook", 2.1, webhook, webhookId="aigen-old-webhook", credentials=credentials["webhook"]),
        _node("AI", "httpRequest", 4.5, ask | headers, credentials=credentials["ai"]),
        _node("Image", "httpRequest", 4.5, fetch),
        _node("Base64", "code", 2, {"jsCode": BASE64}),
        _node("Hash", "crypto", 2, hashed),
        _node("Event", "code", 2, {"jsCode": EVENT}),
        _node("Callback", "httpRequest", 4.5, report | headers, credentials=credentials["bridge"], retryOnFail=True),
    ]
    names = [node["name"] for node in nodes]
    follows = {a: {"main": [[{"node": b, "type": "main", "index": 0}]]} for a, b in pairwise(names)}
    whole = {"active": False, "nodes": nodes, "connections": follows, "settings": {"executionOrder": "v1"}}
    return {"id": "aigen-old", "name": "aigen-old"} | whole


def _node(name: str, kind: str, version: float, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    node = {"id": str(uuid5(NAMESPACE_URL, f"aigen-old/{name}")), "name": name, "position": [0, 0]}
    return node | {"type": f"n8n-nodes-base.{kind}", "typeVersion": version, "parameters": parameters} | more
