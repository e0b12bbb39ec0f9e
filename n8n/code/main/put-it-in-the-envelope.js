// Everything that the callback needs in one item; the signing node has dropped the image.
const { json, binary } = $('Write the result').first();
const { timestamp } = $('Next try at the callback').first().json;
const { passOn } = $('Check the event').first().json;
const headers = {
  ...passOn,
  'webhook-id': json.messageId,
  'webhook-timestamp': timestamp,
  'webhook-signature': `v1,${$input.first().json.signature}`,
};
const { event, url, way } = json;
const item = { json: { event, url, way, headers } };
return [binary ? { ...item, binary } : item];
