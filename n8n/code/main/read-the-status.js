// How far the job is, and what the bridge is told about it: first that the job exists, until that worked, then its progress.
// The answer to a submission has the same shape as the answer to a look.
const { job: submitted, statusCode, body } = $input.first().json;
const { requestId, correlationId, callbackUrl, passOn } = $('Check the event').first().json;
const job = { ...(submitted ?? $('Wait 2 to 5 s').first().json.job) };
const SILENT_MAX = 120_000; // milliseconds in which the AI service says nothing useful
const NAMING_MAX = 120_000; // in which a finished job waits for its name to be taken
const POLLING_MAX = 3_600_000;
const STAGES = { IN_QUEUE: 'queued', IN_PROGRESS: 'generating', COMPLETED: 'finishing' };
const now = Date.now();

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

const failed = (code, message) => [{ json: { route: 'failed', code, message } }];
const said = parsed(body);
const found = statusCode >= 200 && statusCode < 300 ? STAGES[said.status] : undefined;
const isForgotten = statusCode === 404 && said.detail !== undefined;
if (isForgotten && job.isResumed) return failed('job_expired', 'The AI service does not know the job any more.');

if (job.executionId !== $execution.id) Object.assign(job, { executionId: $execution.id, silentSince: undefined, since: now });
if (found === undefined && submitted === undefined) job.silentSince ??= now;
if (found && found !== 'finishing') job.silentSince = undefined; // a finished job has not said its result yet
job.stage = found ?? job.stage ?? 'queued';
job.hasFailed = said.error !== undefined; // the infrastructure failed, or the job was cancelled; the model's errors are in the result
if (now - (job.silentSince ?? now) > SILENT_MAX || now - job.since > POLLING_MAX) {
  if (job.isOlder) return failed('ai_unreachable', 'There is no news of the job at the AI service.'); // nobody resumes it
  throw new Error(`Request ${requestId}: no news of the job ${job.jobId}. The bridge sends the request again [seen to].`);
}

job.looks += 1;
const waitSeconds = Math.min(1 + job.looks, 5); // 2, 3, 4, 5, 5, …
const isHeldBack = !job.isNamed && !job.isOlder && now - job.since < NAMING_MAX;
const next = found === 'finishing' ? 'result' : 'look';
if (job.isOlder) return [{ json: { route: next, waitSeconds, job } }];

const word = job.isNamed ? 'progress' : 'job';
const { provider, jobId, statusUrl, responseUrl, cancelUrl } = job;
const facts = {
  job: { provider, jobId, statusUrl, responseUrl, cancelUrl },
  progress: { stage: job.stage, queuePosition: said.queue_position },
};
const told = JSON.stringify({ correlationId, executionId: $execution.id, ...facts[word] });
const id = `msg_${word}_${requestId}_${$execution.id}_${job.looks}`;
const timestamp = Math.floor(now / 1000).toString();
const headers = { ...passOn, 'webhook-id': id, 'webhook-timestamp': timestamp };
const url = callbackUrl.replace('/ai-image-callback', `/ai-image-requests/${requestId}/generation/${word}`);
const tell = { word, url, body: told, headers, signed: `${id}.${timestamp}.${told}` };
return [{ json: { route: 'tell', next, isHeldBack, waitSeconds, job, ...tell } }];
