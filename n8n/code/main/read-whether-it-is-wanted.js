// A bridge of an earlier version grants nothing: it says only whether the image is still wanted.
const answer = $input.first().json;
const { ask } = $('The question').first().json;

function parsed(found) {
  if (typeof found !== 'string') return found;
  try {
    return JSON.parse(found) ?? {};
  } catch {
    return {};
  }
}

const { statusCode, headers } = answer;
const said = parsed(answer.body ?? answer.data ?? '');
// Only the bridge itself counts. A proxy may answer 404 in its place while it restarts.
const knowsNoQuestion = statusCode === 404 && /^application\/problem\+json/.test(headers?.['content-type'] ?? '');
if (ask.executionId !== $execution.id) return [{ json: { route: 'ask', waitSeconds: 0, ask } }];
if (statusCode === 200 && said.wanted === false) return [{ json: { route: 'stop' } }];
if (statusCode === 404 && said.code === 'request_unknown') return [{ json: { route: 'unknown' } }];
// As a newer bridge says it. Its grant is valid from the question on.
const granted = { statusCode: 200, body: { decision: 'start', isOlder: true } };
if (said.wanted === true || knowsNoQuestion) return [{ json: { route: 'start', ...granted } }];
return [{ json: { route: 'ask', waitSeconds: 5, ask: { ...ask, silentSince: ask.silentSince ?? ask.askedAt } } }];
