// Reads how far the job is, and decides what the bridge is told: first the job itself, until the bridge has accepted it, then
// its progress, when it has changed and at least every 10 seconds.
const answer = $input.first().json;
const { requestId, correlationId, passOn, url } = $('Check the event').first().json;
const SILENT_MAX = 120_000; // milliseconds in which the AI service says nothing useful
const NAMING_MAX = 120_000; // in which a finished job waits for its name to be taken
const POLLING_MAX = 3_600_000;
const TELLING_MAX = 10_000;
const WAITS = [1, 1, 2, 2, 3, 4, 5]; // seconds
const STAGES = { IN_QUEUE: 'queued', IN_PROGRESS: 'generating', COMPLETED: 'finishing' };
const now = Date.now();

function parsed(found) {
  if (typeof found !== 'string') return found;
  try {
    return JSON.parse(found) ?? {};
  } catch {
    return {};
  }
}

const job = { ...$('Wait before the next look').first().json.job };
const failed = (code, message) => [{ json: { route: 'failed', code, message } }];
const { statusCode } = answer;
const said = parsed(answer.body ?? answer.data ?? '');
const found = statusCode >= 200 && statusCode < 300 ? STAGES[said.status] : undefined;
const isForgotten = statusCode === 404 && said.detail !== undefined;
if (isForgotten && job.isResumed) return failed('job_expired', 'The AI service does not know the job any more.');

if (job.executionId !== $execution.id) Object.assign(job, { executionId: $execution.id, silentSince: undefined, since: now });
if (found === undefined) job.silentSince ??= now;
if (found && found !== 'finishing') job.silentSince = undefined; // a finished job has not said its result yet
job.stage = found ?? job.stage ?? 'queued';
job.hasFailed = said.error !== undefined; // the infrastructure failed, or the job was cancelled; the model's errors are in the result
if (now - (job.silentSince ?? now) > SILENT_MAX || now - job.since > POLLING_MAX) {
  if (job.isOlder) return failed('ai_unreachable', 'There is no news of the job at the AI service.'); // nobody resumes it
  throw new Error(`Request ${requestId}: no news of the job ${job.jobId}. The bridge sends the request again [seen to].`);
}

const waitSeconds = WAITS[Math.min(job.looks, WAITS.length - 1)];
job.looks += 1;
const isHeldBack = !job.isNamed && !job.isOlder && now - job.since < NAMING_MAX;
const next = found === 'finishing' ? 'result' : 'look';
const progress = { stage: job.stage, queuePosition: said.queue_position };
const isKnown = JSON.stringify(progress) === job.told && now + waitSeconds * 1000 - job.toldAt < TELLING_MAX;
const isQuiet = isKnown || (next === 'result' && now - (job.toldAt ?? job.since) < TELLING_MAX);
if (job.isOlder || (job.isNamed && isQuiet)) return [{ json: { route: next, waitSeconds, job } }];

const { provider, jobId, statusUrl, responseUrl, cancelUrl } = job;
const word = job.isNamed ? 'progress' : 'job';
const facts = { job: { provider, jobId, statusUrl, responseUrl, cancelUrl }, progress };
const body = JSON.stringify({ correlationId, executionId: $execution.id, ...facts[word] });
const id = `msg_${word}_${requestId}_${$execution.id}_${job.looks}`;
const timestamp = Math.floor(now / 1000).toString();
const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': 'v1,<signature>', ...passOn };
const tell = { word, url: `${url}/${word}`, body, headers: JSON.stringify(headers), signed: `${id}.${timestamp}.${body}` };
return [{ json: { route: 'tell', next, isHeldBack, waitSeconds, job, told: JSON.stringify(progress), ...tell } }];
