// Checks that the bridge signed this, that it is EVT-AIG-001, and that the result goes to the bridge of the settings. Later
// nodes use what this node writes, never the raw event: the first question to the bridge, and the text of the AI service's call.
const { settings, body, headers } = $('Settings').first().json;
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

// The kinds of AI services (`provider.kind` of a model): whether they have a queue, or are called synchronously.
const IS_QUEUED = { fal: true, 'fal-sync': false };

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const isText = (value) => typeof value === 'string';
const isUuid = (value) => isText(value) && UUID.test(value);
const isAbsent = (value) => value === undefined || value === null;
const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const or = (...tests) => (value) => tests.some((test) => test(value));
const isLoras = (value) => Array.isArray(value) && value.every((lora) => isText(lora?.path));
const isEntry = (value) =>
  isObject(value) && isText(value.provider?.kind) && isText(value.provider.endpoint) && or(isAbsent, isLoras)(value.loras);
const event = isObject(body) ? body : {};
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
  model: [or(isAbsent, isEntry), "an entry of the bridge's catalogue or absent"],
};

// How the model is called, by the entry of the bridge's catalogue.
function ofCatalogue({ provider, loras, supports, steps, cfgScale, format, price }) {
  const called = { url: provider.endpoint, isQueued: IS_QUEUED[provider.kind], format: format ?? settings.outputFormat, price };
  const defaults = { steps: steps?.default, cfgScale: cfgScale?.default };
  return { ...called, ...defaults, loras: loras ?? [], supports: supports ?? {} };
}

// The same by the settings, without an entry: from an older bridge, or with an empty catalogue.
function ofSettings(modelId) {
  // A row of its own, or the row "*" for every other model; null stands for the base model without a LoRA.
  const { [modelId]: own, '*': others } = settings.loras;
  const lora = own === undefined ? others : own;
  const { aiUrl: url, aiMode, outputFormat: format, price } = settings;
  return lora === undefined
    ? undefined
    : { url, isQueued: aiMode === 'queue', format, price, loras: lora ? [lora] : [], supports: {} };
}

// The negative prompt of a model that knows none is either folded into the prompt or left out, and the result says which.
function useOf(negativePrompt, { supports }) {
  if (!negativePrompt) return undefined;
  if (supports.negativePrompt === true) return 'used';
  return settings.negativePrompt === 'fold' ? 'folded' : 'ignored';
}

// The question in the shape of fal's flux-lora.
function questionOf({ prompt, negativePrompt, seed, inferenceSteps, cfgScale }, entry, order) {
  const { loras, supports } = entry;
  const optional = {
    negative_prompt: order.negativePrompt === 'used' ? negativePrompt : undefined,
    num_inference_steps: inferenceSteps ?? entry.steps,
    guidance_scale: cfgScale ?? entry.cfgScale,
    seed: supports.seed === false ? undefined : seed,
    loras: loras.length > 0 ? loras.map(({ path, scale }) => ({ path, scale: scale ?? 1 })) : undefined,
  };
  const given = Object.entries(optional).filter(([, value]) => !isAbsent(value));
  return {
    prompt: order.negativePrompt === 'folded' ? `${prompt}\n\nWithout: ${negativePrompt}` : prompt,
    image_size: { width: order.width, height: order.height },
    num_images: 1,
    output_format: order.format,
    ...Object.fromEntries(given),
  };
}

// The key of the AI service goes to the origins of the settings only, whatever the catalogue says.
function originOf(url) {
  const origin = /^https?:\/\/[\w.-]+(:\d+)?(?=\/|$)/i.exec(url ?? '')?.[0].toLowerCase();
  return origin?.replace(/^(https:.*):443$|^(http:.*):80$/, '$1$2');
}

function isAllowed(url) {
  const allowed = [settings.aiUrl, settings.aiOrigins].flat().map(originOf);
  return originOf(url) !== undefined && allowed.includes(originOf(url));
}

// Why the model cannot be called, for the person and for operations.
function objection({ name, provider: { kind, endpoint } }) {
  const model = `The model ${name ?? event.modelId}`;
  if (!Object.hasOwn(IS_QUEUED, kind)) {
    const known = Object.keys(IS_QUEUED).join(' and ');
    const message = `${model} has the provider.kind ${kind}, of which this workflow knows only ${known}. Nothing was submitted. Correct the model in the bridge's catalogue.`;
    return { code: 'unknown_provider', message };
  }
  if (isAllowed(endpoint)) return undefined;
  const origin = originOf(endpoint);
  const advice = origin ? `Add "${origin}" to aiOrigins in n8n/settings.json and import the workflows again, or correct` : 'Correct';
  const message = `${model} has its endpoint at ${origin ?? endpoint}, where the workflow's settings send no key of the AI service. Nothing was submitted. ${advice} the model in the bridge's catalogue.`;
  return { code: 'endpoint_not_allowed', message };
}

// The same key again is the same question. Without an answer it is asked again with this key.
function firstAsk(url, isQueued) {
  const askKey = Array.from({ length: 4 }, () => Math.random().toString(36).slice(2, 10)).join('');
  const ask = { executionId: $execution.id, askKey, askedAt: Date.now(), refusals: 0, endedJobs: 0 };
  const told = { correlationId: event.correlationId, executionId: $execution.id, askKey };
  // During a synchronous call the bridge hears nothing until it has the result: after the grant's 60 s, the call, two tries at
  // the download, and four at the callback, of 60 s each. If it took the execution for dead before, it would pay once more.
  const quietFor = isQueued ? undefined : settings.aiTimeoutSeconds + 430;
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
  const { requestId, correlationId, modelId, model } = event;
  const known = { requestId, correlationId, callbackUrl, settings, passOn, headers: JSON.stringify(passOn) };
  const stop = (message) => ({ route: 'stop', ...known, message });
  // Nothing is billed, unless an earlier execution has submitted a job.
  const unbilled = { isUnbilled: isAbsent(event.providerJob), order: { price: isAbsent(model) ? settings.price : model.price } };
  const refuse = (code, message) => ({ route: 'refuse', ...known, ...unbilled, code, message });

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
  const found = isAbsent(model) ? undefined : objection(model);
  if (found) return refuse(found.code, found.message);
  const entry = isAbsent(model) ? ofSettings(modelId) : ofCatalogue(model);
  if (entry === undefined) return refuse('unknown_model', `The workflow's table of models has no row for ${modelId}.`);
  const [width, height] = event.resolution.split('x').map(Number);
  const { url, isQueued, format, price, loras } = entry;
  const lora = loras.map(({ path }) => path).join(', ') || undefined;
  const order = { url, isQueued, width, height, format, price, lora, negativePrompt: useOf(event.negativePrompt, entry) };
  return {
    route: 'make',
    ...known,
    order,
    question: JSON.stringify(questionOf(event, entry, order)),
    aiTimeout: isQueued ? 30_000 : settings.aiTimeoutSeconds * 1000,
    ...firstAsk(`${influencegen}/ai-image-requests/${requestId}/generation`, isQueued),
  };
}

if (!isSigned()) return [{ json: { route: 'forged' } }];
try {
  return [{ json: checked() }];
} catch (error) {
  return [{ json: { route: 'stop', message: `The workflow failed: ${error.message}` } }]; // N8N has not acknowledged yet
}
