// The AI service answered without an image: a failure in its own words, or another try, of the result, or of the submission
// when the job ended without being paid for.
const answer = $input.first().json;
const { requestId, order } = $('Check the event').first().json;
const { ask } = $('The question').first().json;
const RETRIES = 2;
const SILENT_MAX = 120_000; // milliseconds
const PASSING = [429, 503, 504]; // what fal documents as worth another try
const NO_VERDICT = [401, 403, 408]; // about the question for the result, not about the job
const FIRST_WAIT = 0.5; // seconds until the job is looked at, when it was not done at once
const NEVER_BEGUN = [401, 402, 403, 404, 405, 413, 415, 429]; // of a synchronous call
// The errors of an input that the model finds wrong before it begins. Others may come after, and are billed then.
const INPUT_ERROR =
  /^(missing|enum|one_of|literal_error|extra_forbidden|multiple_of|(greater|less)_than(_equal)?|((string|sequence)_)?too_(short|long)|(string|int|float|bool|list|dict|model)_(type|parsing))$/;
const UNFINISHED = 400; // with a text: the queue has no result yet; the model's own errors are a list

function parsed(found) {
  if (typeof found !== 'string') return found;
  try {
    return JSON.parse(found) ?? {};
  } catch {
    return {};
  }
}

const status = answer.statusCode;
const output = parsed(answer.body ?? answer.data ?? '');
// As it was at the last look. When its result was asked for at once, the job is known from its submission, and named.
const jobOf = (node) => (node.isExecuted ? node.first().json.job : undefined);
const looked = jobOf($('Read the status'));
const submitted = jobOf($('Read the submission'));
const isNew = submitted !== undefined && submitted.since > (looked?.since ?? 0);
const found = isNew ? { ...submitted, isNamed: true } : looked;
const job = answer.isSubmission ? undefined : found;

// fal has two shapes: the model's {detail: [{type, msg}]} and the infrastructure's {detail, error_type}.
function refusal() {
  const { detail, error_type: type } = output;
  const first = Array.isArray(detail) ? detail[0] : { type, msg: detail };
  const message = typeof first?.msg === 'string' ? first.msg : `The AI service answered ${status}.`;
  return { code: first?.type ?? `ai_http_${status}`, message };
}

// Whether this was surely not billed: an error of fal's servers, a submission that was refused, a wrong input.
function isUnbilled() {
  const errors = Array.isArray(output.detail) ? output.detail : [];
  // A text without a type may come from a proxy, behind which the submission was taken.
  if (status >= 500) return !answer.isSubmission || output.error_type !== undefined || errors.length > 0;
  if (answer.isSubmission && status !== 408 && (order.isQueued || NEVER_BEGUN.includes(status))) return true;
  const isWrongInput = errors.length > 0 && errors.every((error) => INPUT_ERROR.test(error?.type));
  return status === 429 || (status === 422 && isWrongInput);
}

function problem() {
  if (status < 200 || status > 299) return { ...refusal(), isUnbilled: isUnbilled() };
  if (output.has_nsfw_concepts?.[0] === true && output.images?.length) {
    return { code: 'nsfw_content', message: "The AI service's safety checker withheld the image." };
  }
  return { code: 'ai_no_image', message: 'The AI service answered without an image.' };
}

const failed = (why) => [{ json: { route: 'failed', ...why, isSubmission: answer.isSubmission, body: output } }];

function lookAgain() {
  const silentSince = job.executionId === $execution.id ? (job.silentSince ?? Date.now()) : Date.now();
  if (Date.now() - silentSince > SILENT_MAX) {
    if (job.isOlder) return failed({ code: 'ai_unreachable', message: 'The result of the job could not be fetched.' });
    throw new Error(`Request ${requestId}: no result of the job ${job.jobId}. The bridge sends the request again [seen to].`);
  }
  return [{ json: { route: 'look', waitSeconds: isNew ? FIRST_WAIT : 5, job: { ...job, executionId: $execution.id, silentSince } } }];
}

function askAgain(refused) {
  if (ask.endedJobs >= RETRIES) return failed(refused);
  const anew = { askKey: undefined, silentSince: undefined, waitingSince: undefined };
  // Both, when the bridge was never told of the job: whichever it knows, counts.
  const flags = { endedJob: job.jobId, noJob: job.isNamed ? undefined : true };
  return [{ json: { route: 'ask', waitSeconds: 5, ask: { ...ask, ...anew, endedJobs: ask.endedJobs + 1, refusal: refused, flags } } }];
}

const isItsOwn = output.detail !== undefined || output.images !== undefined;
const isPassing = PASSING.includes(status);
const isUnfinished = status === UNFINISHED && typeof output.detail === 'string';
if (job && (answer.error || !isItsOwn || NO_VERDICT.includes(status) || isUnfinished)) return lookAgain();
const isAway = isPassing || (status >= 500 && typeof output.detail === 'string'); // the infrastructure speaks, not the model
if (job && isAway && !job.hasFailed) return lookAgain(); // the job went well, only its result is out of reach
if (job && status === 404) {
  if (isNew) return lookAgain();
  return failed({ code: 'job_expired', message: 'The AI service does not have the result any more.' });
}
return job && isPassing ? askAgain(problem()) : failed(problem());
