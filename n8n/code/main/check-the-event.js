// Is this EVT-AIG-001, and may it be answered? Everything behind this node works with `order` and `question`, never with
// the raw event.
const { settings, body, headers } = $input.first().json;
const event = body !== null && typeof body === 'object' && !Array.isArray(body) ? body : {};

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const isText = (value) => typeof value === 'string';
const isUuid = (value) => isText(value) && UUID.test(value);
const isAbsent = (value) => value === undefined || value === null;
const or = (...tests) => (value) => tests.some((test) => test(value));

const RULES = {
  requestId: [isUuid, 'a UUID'],
  correlationId: [isUuid, 'a UUID'],
  userId: [isUuid, 'a UUID'],
  modelId: [isUuid, 'a UUID'],
  aspectRatio: [isText, 'a text'],
  prompt: [(value) => isText(value) && value.trim() !== '', 'a text'],
  negativePrompt: [or(isAbsent, isText), 'a text or absent'],
  resolution: [(value) => isText(value) && /^[1-9]\d{1,3}x[1-9]\d{1,3}$/.test(value), 'WIDTHxHEIGHT'],
  seed: [or(isAbsent, Number.isSafeInteger), 'a whole number or absent'],
  inferenceSteps: [or(isAbsent, Number.isSafeInteger), 'a whole number or absent'],
  cfgScale: [or(isAbsent, Number.isFinite), 'a number or absent'],
};

function complaints() {
  const wrong = Object.entries(RULES).filter(([field, [isGood]]) => !isGood(event[field]));
  return wrong.map(([field, [, allowed]]) => `${field} must be ${allowed}`);
}

// Results go to the bridge of the settings and to nobody else, whatever an event says.
const callbackUrl = `${settings.bridgeUrl.replace(/\/+$/, '')}/api/v1/influencegen/ai-image-callback`;
const isOurs = or(isAbsent, (value) => value === callbackUrl)(event.callbackUrl);

// A row of its own, or the row "*" for every other model; null stands for the base model without a LoRA.
const loraOf = (modelId) => (settings.loras[modelId] !== undefined ? settings.loras[modelId] : settings.loras['*']);

const passOn = { 'x-correlation-id': String(event.correlationId) };
for (const name of ['traceparent', 'tracestate']) {
  if (headers[name]) passOn[name] = headers[name];
}
const known = { requestId: event.requestId, correlationId: event.correlationId, callbackUrl, passOn };
const stop = (message) => [{ json: { route: 'stop', ...known, message } }];
const refuse = (code, message) => [{ json: { route: 'refuse', ...known, code, message } }];

if (!isOurs) return stop('The event wants its result somewhere else than at the bridge of the settings. Nobody was told.');
if (!isUuid(event.requestId) || !isUuid(event.correlationId)) {
  return stop('The event has no usable requestId and correlationId, so its sender cannot be told.');
}
const wrong = complaints();
if (wrong.length > 0) return refuse('invalid_event', `The event is not valid: ${wrong.join('; ')}.`);

const lora = loraOf(event.modelId);
if (lora === undefined) {
  return refuse('unknown_model', `The workflow's table of models has no row for ${event.modelId}.`);
}
const [width, height] = event.resolution.split('x').map(Number);
const { prompt, negativePrompt, seed, inferenceSteps, cfgScale } = event;
const order = { prompt, negativePrompt, width, height, seed, inferenceSteps, cfgScale, lora };

// The question in the shape of fal's flux-lora. The model knows no negative prompt: it is either folded into the prompt or
// left out, and the result says which.
function questionOf() {
  const folded = settings.negativePrompt === 'fold' && negativePrompt;
  const optional = {
    num_inference_steps: inferenceSteps,
    guidance_scale: cfgScale,
    seed,
    loras: lora && [{ path: lora.path, scale: lora.scale ?? 1 }],
  };
  const given = Object.entries(optional).filter(([, value]) => !isAbsent(value));
  return {
    prompt: folded ? `${prompt}\n\nWithout: ${negativePrompt}` : prompt,
    image_size: { width, height },
    num_images: 1,
    output_format: settings.outputFormat,
    ...Object.fromEntries(given),
  };
}
return [{ json: { route: 'make', ...known, order, question: questionOf() } }];
