// Writes EVT-AIG-002 or EVT-AIG-003 as the exact text that is signed and sent.
const VERSION = '1.4.0'; // of this workflow; docs/n8n.md, "Versions", says when it changes
const found = $input.first().json;
const { requestId, correlationId, callbackUrl, order, settings, passOn } = $('Check the event').first().json;
const FORMATS = { 'image/png': 'png', 'image/jpeg': 'jpeg', 'image/webp': 'webp' };
const style = settings.callbackStyle;
const head = { requestId, correlationId, executionId: $execution.id, payloadVersion: '1.1', workflowVersion: VERSION };

// What was said about the file counts when it is complete and what was ordered; else the file's bytes are read.
function metadataOf(file, { width, height }) {
  if (found.metadata || style === 'v1') return found.metadata;
  const format = FORMATS[file.mimeType];
  const isAsOrdered = width === order.width && height === order.height && format === order.format;
  return isAsOrdered && file.bytes > 0 ? { format, size: file.bytes, width, height } : undefined;
}

// How the image was made. An older bridge ignores fields that it does not know.
function generation({ seed, timings, has_nsfw_concepts: hasNsfwConcepts }) {
  const jobOf = (node) => (node.isExecuted ? node.first().json.job : undefined);
  const looked = jobOf($('Read the status'));
  const submitted = jobOf($('Read the submission'));
  const job = submitted?.since > (looked?.since ?? 0) ? submitted : looked;
  return {
    provider: 'fal',
    model: /^https?:\/\/[^/]+\/(?:queue\/)?(.+?)\/*$/.exec(order.url)?.[1],
    jobId: found.isSubmission ? undefined : job?.jobId,
    seed,
    seconds: timings?.inference,
    hasNsfwConcepts,
    lora: order.lora,
    negativePrompt: order.negativePrompt,
  };
}

// The exact product of a price (`0.035`) and a number of pixels in millions; rounded as the bridge does, half up.
function priced(amount, pixels) {
  const [, whole, places = ''] = /^(\d{1,12})(?:\.(\d{0,9}))?$/.exec(amount) ?? [];
  if (whole === undefined) return undefined;
  const product = BigInt(whole + places.padEnd(9, '0')) * BigInt(pixels);
  const digits = String((product + 500_000n) / 1_000_000n).padStart(10, '0');
  return `${digits.slice(0, -9)}.${digits.slice(-9).replace(/0{1,7}$/, '')}`;
}

// Nothing, if the AI service surely billed nothing. An image is estimated from the price, because the service does not say
// what it bills. Otherwise the bridge estimates.
function cost() {
  const { amount, currency, per } = order?.price ?? {};
  if (found.isUnbilled && currency) return { amount: '0.00', currency, basis: 'billed' };
  if (!found.body?.images?.length) return undefined;
  const pixels = per === 'megapixel' ? order.width * order.height : 1_000_000;
  const text = typeof amount === 'number' ? amount.toFixed(9) : amount;
  const total = priced(text, pixels);
  return total && { amount: total, currency, basis: 'estimated', units: pixels / 1e6, unit: per };
}

// What is known of the generation, with or without an image, and of its cost.
function made() {
  return { generation: found.body && generation(found.body), cost: cost() };
}

function completed() {
  const event = { ...head, status: 'completed', imageMetadata: metadata, hashValue: found.sha256 };
  if (style === 'v1') event.imageData = found.base64;
  if (style === 'v1-url') event.imageUrl = found.body.images[0].url;
  return event;
}

function failed() {
  return { ...head, status: 'failed', errorCode: found.code, errorMessage: found.message };
}

// A text that was cut in the middle of an emoji holds half a character, which no program has to accept.
const wellFormed = (_name, value) => (typeof value === 'string' ? (value.toWellFormed?.() ?? value) : value);

const isImage = found.sha256 !== undefined;
const file = isImage ? $('Fetch the image').first().binary.image : undefined;
const metadata = isImage ? metadataOf(file, found.body.images[0]) : undefined;
if (isImage && !metadata) return [{ json: { way: 'look' }, binary: { image: file } }];

const event = { ...(isImage ? completed() : failed()), ...made() };
const messageId = `msg_${requestId}_${$execution.id}`; // the same in every try
const headers = { 'webhook-id': messageId, 'webhook-timestamp': '<timestamp>', 'webhook-signature': 'v1,<signature>' };
const json = {
  attempt: 1,
  timestamp: Math.floor(Date.now() / 1000).toString(),
  executionId: $execution.id,
  isLooked: found.metadata !== undefined,
  way: style !== 'v2' ? 'version 1' : isImage ? 'event and image' : 'event alone',
  url: style === 'v2' ? callbackUrl.replace('/api/v1/', '/api/v2/') : callbackUrl,
  headers: JSON.stringify({ ...headers, ...passOn }),
  messageId,
  event: JSON.stringify(event, wellFormed),
};
if (!isImage) return [{ json }];
const { format } = metadata;
return [{ json, binary: { image: { ...file, mimeType: `image/${format}`, fileName: `image.${format}` } } }];
