// A bridge of an earlier version grants nothing: it says only whether the image is still wanted.
const { statusCode, body, headers } = $input.first().json;
const { ask } = $('Next ask').first().json;

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

const said = parsed(body);
// Only the bridge itself counts. A proxy may answer 404 in its place while it restarts.
const knowsNoQuestion = statusCode === 404 && /^application\/problem\+json/.test(headers?.['content-type'] ?? '');
if (ask.executionId !== $execution.id) return [{ json: { route: 'ask', waitSeconds: 0, ask } }];
if (statusCode === 200 && said.wanted === false) return [{ json: { route: 'stop' } }];
if (statusCode === 404 && said.code === 'request_unknown') return [{ json: { route: 'unknown' } }];
if (said.wanted === true || knowsNoQuestion) {
  const answered = { ...ask, askKey: undefined, flags: undefined, silentSince: undefined };
  return [{ json: { route: 'submit', ask: answered, validUntil: Date.now() + 60_000, isOlder: true } }];
}
return [{ json: { route: 'ask', waitSeconds: 5, ask: { ...ask, silentSince: ask.silentSince ?? ask.askedAt } } }];
