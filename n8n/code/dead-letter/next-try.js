// Which try this is, and everything that the intake needs. The id is the same in every try, so that the bridge knows a
// repeat. The signing node, which keeps the image, adds the signature to the headers' text.
const { json, binary } = $('Describe what happened').first();
const { settings } = $('Settings').first().json;
const { event, hasImage, report } = json;
const attempt = ($input.first().json.attempt ?? 0) + 1;
const timestamp = Math.floor(Date.now() / 1000).toString();
const messageId = `msg_dead_${report.executionId ?? $execution.id}`;
const headers = { 'webhook-id': messageId, 'webhook-timestamp': timestamp, 'webhook-signature': 'v1,<signature>' };
if (report.correlationId) headers['x-correlation-id'] = report.correlationId;
const url = `${settings.bridgeUrl.replace(/\/+$/, '')}/api/v1/ops/n8n-failures`;
const tell = { event, hasImage, url, headers: JSON.stringify(headers), signed: `${messageId}.${timestamp}.${event}` };
const item = { json: { attempt, ...tell } };
return [binary ? { ...item, binary } : item];
