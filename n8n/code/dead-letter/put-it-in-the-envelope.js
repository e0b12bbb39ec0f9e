// Everything that the intake needs in one item; the signing node has dropped the image.
const { json, binary } = $('Describe what happened').first();
const { timestamp, messageId } = $('Next try').first().json;
const { settings } = $('Settings').first().json;
const headers = {
  'webhook-id': messageId,
  'webhook-timestamp': timestamp,
  'webhook-signature': `v1,${$input.first().json.signature}`,
};
if (json.report.correlationId) headers['x-correlation-id'] = json.report.correlationId;
const url = `${settings.bridgeUrl.replace(/\/+$/, '')}/api/v1/ops/n8n-failures`;
const item = { json: { event: json.event, hasImage: json.hasImage, url, headers } };
return [binary ? { ...item, binary } : item];
