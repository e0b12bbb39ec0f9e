// An image, a failure in the AI service's own words, or another try: of the result, or of the submission when the job
// ended without being paid for.
const answer = $input.first().json;
const { requestId } = $('Check the event').first().json;
const { job } = answer.isSubmission ? {} : $('Read the status').first().json;
const RETRIES = 2;
const SILENT_MAX = 120_000; // milliseconds
const PASSING = [429, 503, 504]; // what fal documents as worth another try
const NO_VERDICT = [401, 403, 408]; // about the question for the result, not about the job
const UNFINISHED = 400; // with a text: the queue has no result yet; the model's own errors are a list

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

// fal has two shapes: the model's {detail: [{type, msg}]} and the infrastructure's {detail, error_type}.
function refusal(status, { detail, error_type: type }) {
  const first = Array.isArray(detail) ? detail[0] : { type, msg: detail };
  const message = typeof first?.msg === 'string' ? first.msg : `The AI service answered ${status}.`;
  return { code: first?.type ?? `ai_http_${status}`, message };
}

function problem(status, output) {
  if (status < 200 || status > 299) return refusal(status, output);
  if (typeof output.images?.[0]?.url !== 'string') {
    return { code: 'ai_no_image', message: 'The AI service answered without an image.' };
  }
  if (output.has_nsfw_concepts?.[0] === true) {
    return { code: 'nsfw_content', message: "The AI service's safety checker withheld the image." };
  }
  return null;
}

const failed = (found) => [{ json: { route: 'failed', ...found } }];

function lookAgain() {
  const silentSince = job.executionId === $execution.id ? (job.silentSince ?? Date.now()) : Date.now();
  if (Date.now() - silentSince > SILENT_MAX) {
    if (job.isOlder) return failed({ code: 'ai_unreachable', message: 'The result of the job could not be fetched.' });
    throw new Error(`Request ${requestId}: no result of the job ${job.jobId}. The bridge sends the request again [seen to].`);
  }
  return [{ json: { route: 'look', waitSeconds: 5, job: { ...job, executionId: $execution.id, silentSince } } }];
}

function askAgain(found) {
  const { ask } = $('Next ask').first().json;
  if (ask.endedJobs >= RETRIES) return failed(found);
  const counted = { endedJobs: ask.endedJobs + 1, refusal: found, askKey: undefined };
  // Both, when the bridge was never told of the job: whichever it knows, counts.
  const flags = { endedJob: job.jobId, noJob: job.isNamed ? undefined : true };
  return [{ json: { route: 'ask', waitSeconds: 5, ask: { ...ask, ...counted, flags } } }];
}

const status = answer.statusCode;
const output = parsed(answer.body);
const isItsOwn = output.detail !== undefined || output.images !== undefined;
const isPassing = PASSING.includes(status);
const isUnfinished = status === UNFINISHED && typeof output.detail === 'string';
if (job && (answer.error || !isItsOwn || NO_VERDICT.includes(status) || isUnfinished)) return lookAgain();
const isAway = isPassing || (status >= 500 && typeof output.detail === 'string'); // the infrastructure speaks, not the model
if (job && isAway && !job.hasFailed) return lookAgain(); // the job went well, only its result is out of reach
if (job && status === 404) {
  return failed({ code: 'job_expired', message: 'The AI service does not have the result any more.' });
}
const found = problem(status, output);
if (job && isPassing) return askAgain(found);
if (found !== null) return failed(found);
const { provider, jobId, isOlder } = job ?? {};
return [{ json: { route: 'image', url: output.images[0].url, seed: output.seed, provider, jobId, isOlder } }];
