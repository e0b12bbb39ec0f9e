// What the bridge decided if it did not say "start": go on with a known job, ask again later, or end.
const answer = $input.first().json;
const { ask } = $('The question').first().json;
const { requestId, order } = $('Check the event').first().json;
const NO_ANSWER_WAIT = 5; // seconds
const { statusCode } = answer;

function parsed(found) {
  if (typeof found !== 'string') return found;
  try {
    return JSON.parse(found) ?? {};
  } catch {
    return {};
  }
}

const again = (waitSeconds, next) => [{ json: { route: 'ask', waitSeconds, ask: next } }];
const failed = (why) => [{ json: { route: 'failed', ...why } }];

// The key of the AI service goes to the origin of the model's endpoint only, whatever address a job has.
function originOf(url) {
  const origin = /^https?:\/\/[\w.-]+(:\d+)?(?=\/|$)/i.exec(url ?? '')?.[0].toLowerCase();
  return origin?.replace(/^(https:.*):443$|^(http:.*):80$/, '$1$2');
}
const isOurs = (url) => originOf(url) !== undefined && originOf(url) === originOf(order.url);

function goOnWith(found) {
  if (!isOurs(found?.statusUrl) || !isOurs(found.responseUrl)) {
    const message = `The job ${found?.jobId} has no addresses at ${originOf(order.url)}, the origin of its model.`;
    return failed({ code: 'job_out_of_reach', message });
  }
  const cancelUrl = isOurs(found.cancelUrl) ? found.cancelUrl : undefined;
  const state = { isNamed: true, isResumed: true, since: Date.now(), looks: 0 };
  return [{ json: { route: 'look', waitSeconds: 0, job: { ...found, cancelUrl, ...state } } }];
}

// The bridge takes no further submission, but the request is open: the person gets the AI service's last words.
const isRefused = ({ status }) => ask.refusal !== undefined && ['queued', 'dispatched'].includes(status);

const text = answer.body ?? answer.data ?? '';
const said = parsed(text);
if (ask.executionId !== $execution.id) return again(0, ask);
if (statusCode === 404 && said.code === 'request_unknown') return [{ json: { route: 'unknown' } }];
const isPage = typeof text === 'string' && /^\s*</.test(text); // of a proxy, while the bridge restarts: no answer
if (statusCode === 404 && !isPage) return [{ json: { route: 'older' } }];
if (statusCode === 409 || statusCode === 422) {
  throw new Error(`Request ${requestId}: the bridge refused the question whether to start, with ${statusCode}: ${said.detail} [seen to]`);
}
const ways = {
  resume: () => goOnWith(said.providerJob),
  wait: () => {
    const waitSeconds = Math.min(Math.max(1, said.retryAfter ?? 5), 60); // N8N keeps longer waits in its database
    const answered = { ...ask, askKey: undefined, flags: undefined, silentSince: undefined };
    return again(waitSeconds, { ...answered, waitingSince: ask.waitingSince ?? Date.now() });
  },
  stop: () => (isRefused(said) ? failed(ask.refusal) : [{ json: { route: 'stop' } }]),
};
const way = statusCode === 200 && Object.hasOwn(ways, said.decision) ? ways[said.decision] : undefined;
return way ? way() : again(NO_ANSWER_WAIT, { ...ask, silentSince: ask.silentSince ?? ask.askedAt });
