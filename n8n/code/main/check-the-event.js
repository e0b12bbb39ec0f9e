// Checks that the bridge signed this, that it is EVT-AIG-001, and that the result goes to the bridge of the settings. Later
// nodes use what this node writes, never the raw event: the first question to the bridge, and the text of the AI service's call.
const { settings, body, headers } = $('Settings').first().json;
const event = body !== null && typeof body === 'object' && !Array.isArray(body) ? body : {};
const AGE_MAX = 300; // seconds
const SIGNATURES_MAX = 10;

// Compares every character, so that the time it takes reveals nothing about the right signature.
function isSame(given, wanted) {
  let different = given.length ^ wanted.length;
  for (let at = 0; at < wanted.length; at += 1) different |= given.charCodeAt(at) ^ wanted.charCodeAt(at);
  return different === 0;
}

function isSigned() {
  if (!settings.verifySignature) return true;
  const wanted = $input.first().json.expected;
  const sent = String(headers['webhook-timestamp']);
  const given = String(headers['webhook-signature']).split(' ').slice(0, SIGNATURES_MAX);
  const isRight = given.filter((one) => isSame(one, `v1,${wanted}`)).length > 0;
  const isRecent = /^\d{1,12}$/.test(sent) && Math.abs(Date.now() / 1000 - Number(sent)) <= AGE_MAX;
  return Boolean(wanted) && isRecent && isRight;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const isText = (value) => typeof value === 'string';
const isUuid = (value) => isText(value) && UUID.test(value);
const isAbsent = (value) => value === undefined || value === null;
const or = (...tests) => (value) => tests.some((test) => test(value));
const whole = [or(isAbsent, Number.isSafeInteger), 'a whole number or absent'];
const uuid = [isUuid, 'a UUID'];
const RULES = {
  requestId: uuid,
  correlationId: uuid,
  userId: uuid,
  modelId: uuid,
  aspectRatio: [isText, 'a text'],
  prompt: [(value) => isText(value) && value.trim() !== '', 'a text'],
  negativePrompt: [or(isAbsent, isText), 'a text or absent'],
  resolution: [(value) => isText(value) && /^[1-9]\d{1,3}x[1-9]\d{1,3}$/.test(value), 'WIDTHxHEIGHT'],
  seed: whole,
  inferenceSteps: whole,
  cfgScale: [or(isAbsent, Number.isFinite), 'a number or absent'],
};

// The question in the shape of fal's flux-lora. The model knows no negative prompt: it is either folded into the prompt or
// left out, and the result says which.
function questionOf({ prompt, negativePrompt, seed, inferenceSteps, cfgScale }, lora, width, height) {
  const isFolded = settings.negativePrompt === 'fold' && negativePrompt;
  const optional = {
    num_inference_steps: inferenceSteps,
    guidance_scale: cfgScale,
    seed,
    loras: lora && [{ path: lora.path, scale: lora.scale ?? 1 }],
  };
  const given = Object.entries(optional).filter(([, value]) => !isAbsent(value));
  return {
    prompt: isFolded ? `${prompt}\n\nWithout: ${negativePrompt}` : prompt,
    image_size: { width, height },
    num_images: 1,
    output_format: settings.outputFormat,
    ...Object.fromEntries(given),
  };
}

// The same key again is the same question. Without an answer it is asked again with this key.
function firstAsk(url) {
  const askKey = Array.from({ length: 4 }, () => Math.random().toString(36).slice(2, 10)).join('');
  const ask = { executionId: $execution.id, askKey, askedAt: Date.now(), refusals: 0, endedJobs: 0 };
  const told = { correlationId: event.correlationId, executionId: $execution.id, askKey };
  // During a synchronous call the bridge hears nothing until it has the result: after the grant's 60 s, the call, two tries at
  // the download, and four at the callback, of 60 s each. If it took the execution for dead before, it would pay once more.
  const quietFor = settings.aiMode === 'queue' ? undefined : settings.aiTimeoutSeconds + 430;
  return { ask, quietFor, url, body: JSON.stringify({ ...told, quietFor }) };
}

function checked() {
  // Results go to the bridge of the settings and to nobody else, whatever an event says.
  const influencegen = `${settings.bridgeUrl.replace(/\/+$/, '')}/api/v1/influencegen`;
  const callbackUrl = `${influencegen}/ai-image-callback`;
  const passOn = { 'x-correlation-id': String(event.correlationId) };
  for (const name of ['traceparent', 'tracestate']) {
    if (headers[name]) passOn[name] = headers[name];
  }
  const { requestId, correlationId, modelId } = event;
  const known = { requestId, correlationId, callbackUrl, settings, passOn, headers: JSON.stringify(passOn) };
  const stop = (message) => ({ route: 'stop', ...known, message });
  const refuse = (code, message) => ({ route: 'refuse', ...known, code, message });

  if (!isAbsent(event.callbackUrl) && event.callbackUrl !== callbackUrl) {
    return stop('The event wants its result somewhere else than at bridgeUrl of the settings, so nothing was made. Compare bridgeUrl with AIGEN_PUBLIC_URL of the bridge.');
  }
  if (!isUuid(requestId) || !isUuid(correlationId)) {
    return stop('The event has no usable requestId and correlationId, so nothing was made and no result was sent.');
  }
  const wrong = Object.entries(RULES).filter(([field, [isGood]]) => !isGood(event[field]));
  if (wrong.length > 0) {
    const complaints = wrong.map(([field, [, allowed]]) => `${field} must be ${allowed}`);
    return refuse('invalid_event', `The event is not valid: ${complaints.join('; ')}.`);
  }
  // A row of its own, or the row "*" for every other model; null stands for the base model without a LoRA.
  const { [modelId]: own, '*': others } = settings.loras;
  const lora = own === undefined ? others : own;
  if (lora === undefined) return refuse('unknown_model', `The workflow's table of models has no row for ${modelId}.`);
  const [width, height] = event.resolution.split('x').map(Number);
  return {
    route: 'make',
    ...known,
    order: { width, height, lora: lora?.path, negativePrompt: event.negativePrompt },
    question: JSON.stringify(questionOf(event, lora, width, height)),
    aiTimeout: settings.aiMode === 'queue' ? 30_000 : settings.aiTimeoutSeconds * 1000,
    ...firstAsk(`${influencegen}/ai-image-requests/${requestId}/generation`),
  };
}

if (!isSigned()) return [{ json: { route: 'forged' } }];
try {
  return [{ json: checked() }];
} catch (error) {
  return [{ json: { route: 'stop', message: `The workflow failed: ${error.message}` } }]; // N8N has not acknowledged yet
}
