// Reads what became of the submission: a job, an answer, a sure refusal, or nothing sure. An unsure one is never repeated,
// because it may have been paid for.
const answer = $input.first().json;
const { ask } = $('The question').first().json;
const { isOlder } = $('Granted?').first().json.body;
const { requestId, correlationId, order, url, passOn } = $('Check the event').first().json;
const RETRIES = 2;
const RETRY_WAIT = 5; // seconds
const BUSY = [429, 503, 504]; // what fal documents as worth another try

function parsed(found) {
  if (typeof found !== 'string') return found;
  try {
    return JSON.parse(found) ?? {};
  } catch {
    return {};
  }
}

const askAgain = (waitSeconds, next) => [{ json: { route: 'ask', waitSeconds, ask: next } }];
const failed = (why) => [{ json: { route: 'failed', ...why } }];
// The key of the AI service goes to the origin of the model's endpoint only, whatever addresses a job gets.
function originOf(address) {
  const origin = /^https?:\/\/[\w.-]+(:\d+)?(?=\/|$)/i.exec(address ?? '')?.[0].toLowerCase();
  return origin?.replace(/^(https:.*):443$|^(http:.*):80$/, '$1$2');
}
const isOurs = (address) => originOf(address) !== undefined && originOf(address) === originOf(order.url);

function refused(code, message) {
  const refusal = { code, message, isUnbilled: true };
  if (ask.refusals >= RETRIES) return failed(refusal);
  const anew = { askKey: undefined, silentSince: undefined, waitingSince: undefined, flags: { noJob: true } };
  return askAgain(RETRY_WAIT, { ...ask, ...anew, refusals: ask.refusals + 1, refusal });
}

// Only a bridge that grants submissions looks after silent executions; with an older one, the person is told.
function unsure(code, message) {
  if (isOlder) return failed({ code, message });
  if (ask.executionId !== $execution.id) return askAgain(0, ask); // N8N's Retry
  throw new Error(
    `Request ${requestId}: ${message} A job may have been submitted, so it is not tried again here. The bridge decides [seen to].`,
  );
}

// An error of N8N's settings or credentials. Operations hear of it, mend it, and replay the request.
function unsent(why) {
  if (ask.executionId !== $execution.id) return askAgain(0, ask); // N8N's Retry
  throw new Error(`Request ${requestId}: N8N could not call the AI service, and nothing was submitted. ${why}`);
}

function unanswered({ error }) {
  const words = `${error.code ?? error.cause?.code ?? ''} ${error.message ?? error}`;
  if (/no-valid-grant/.test(words)) return askAgain(0, ask); // with the same key
  if (/Invalid URL|URL parameter|credential/i.test(words)) return unsent(words.trim());
  if (/ECONNREFUSED|ENOTFOUND|EAI_AGAIN/.test(words)) {
    return refused('ai_unreachable', 'The AI service could not be reached.');
  }
  return /ETIMEDOUT|ECONNABORTED|timeout|timed out/i.test(words)
    ? unsure('ai_timeout', 'The AI service did not answer in time.')
    : unsure('ai_unreachable', 'The connection to the AI service was lost.');
}

// The bridge learns the job at once, signed over the exact text.
function submitted(output) {
  const [statusUrl, responseUrl, cancelUrl] = ['status_url', 'response_url', 'cancel_url']
    .map((name) => output[name])
    .map((address) => (isOurs(address) ? address : undefined));
  const named = { provider: 'fal', jobId: output.request_id, statusUrl, responseUrl, cancelUrl };
  const now = Date.now();
  const job = { ...named, executionId: $execution.id, isNamed: false, isOlder, since: now, looks: 0 };
  if (isOlder) return [{ json: { route: 'look', waitSeconds: 0, job } }];
  const body = JSON.stringify({ correlationId, executionId: $execution.id, ...named });
  const id = `msg_job_${requestId}_${$execution.id}_0`;
  const timestamp = Math.floor(now / 1000).toString();
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': 'v1,<signature>', ...passOn };
  const isInReach = statusUrl !== undefined && responseUrl !== undefined;
  const tell = { word: 'job', isNew: isInReach, url: `${url}/job`, body, headers: JSON.stringify(headers) };
  return [{ json: { route: 'job', next: 'look', isHeldBack: true, waitSeconds: 1, job, ...tell, signed: `${id}.${timestamp}.${body}` } }];
}

if (answer.error) return unanswered(answer);
const status = answer.statusCode;
const output = parsed(answer.body ?? answer.data ?? '');
const isSuccess = status >= 200 && status < 300;
const hasItsShape = output.detail !== undefined; // both of fal's shapes have it; a proxy's page has not
if (isSuccess && typeof output.request_id === 'string' && !output.images) return submitted(output);
// Its infrastructure's errors have a type; a 503 or 504 without one may come from a proxy before it.
if (BUSY.includes(status) && hasItsShape && (status === 429 || output.error_type !== undefined)) {
  const message = typeof output.detail === 'string' ? output.detail : `The AI service answered ${status}.`;
  return refused(output.error_type ?? `ai_http_${status}`, message);
}
const isSure = isSuccess ? !order.isQueued || output.images : hasItsShape || (status < 500 && status !== 408);
if (!isSure) return unsure(`ai_http_${status}`, `The AI service answered ${status} in a shape that is not its own.`);
return [{ json: { route: 'answer', isSubmission: true, statusCode: status, body: output } }];
