// EVT-AIG-002 or EVT-AIG-003 as the exact text that is signed and sent. Every way through the workflow ends here.
const VERSION = '1.2.0'; // of this workflow; docs/n8n.md, "Versions", says when it changes
const found = $input.first().json;
const { requestId, correlationId, callbackUrl, order } = $('Check the event').first().json;
const { settings } = $('Settings').first().json;
const style = settings.callbackStyle;

const head = { requestId, correlationId, executionId: $execution.id, payloadVersion: '1.1', workflowVersion: VERSION };

function failed() {
  return { ...head, status: 'failed', errorCode: found.code, errorMessage: found.message };
}

// How it was made, for people who wonder about the image. The bridge ignores fields that it does not know.
function generation(answer) {
  const said = { seed: answer.seed, provider: answer.provider, jobId: answer.jobId };
  if (order.lora) said.lora = order.lora.path;
  if (order.negativePrompt) {
    said.negativePrompt = settings.negativePrompt === 'fold' ? 'folded into the prompt' : 'not supported by the model';
  }
  return said;
}

function completed(look, answer) {
  const event = { ...head, status: 'completed', imageMetadata: look.metadata, hashValue: found.sha256 };
  if (style === 'v1') event.imageData = look.base64;
  if (style === 'v1-url') event.imageUrl = answer.url;
  return { ...event, generation: generation(answer) };
}

// A text that was cut in the middle of an emoji holds half a character, which no program has to accept.
const wellFormed = (_name, value) => (typeof value === 'string' ? (value.toWellFormed?.() ?? value) : value);

const isImage = found.sha256 !== undefined;
const look = isImage ? $('Look at the image').first() : null;
const event = isImage ? completed(look.json, $('Read the AI answer').first().json) : failed();
const json = {
  event: JSON.stringify(event, wellFormed),
  url: style === 'v2' ? callbackUrl.replace('/api/v1/', '/api/v2/') : callbackUrl,
  way: style !== 'v2' ? 'version 1' : isImage ? 'event and image' : 'event alone',
  messageId: `msg_${requestId}_${$execution.id}`, // the same in every try
  executionId: $execution.id,
};
return [isImage ? { json, binary: look.binary } : { json }];
