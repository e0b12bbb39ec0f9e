// Taken, or once more: quickly at first, then for a day. N8N keeps waits of 65 s and more in its database.
const answer = $input.first().json;
const { attempt } = $('Next try').first().json;
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const WAITS = [5, 15, 70, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE, ...Array(24).fill(HOUR)]; // seconds
const status = answer.statusCode;

function parsed(found) {
  if (typeof found !== 'string') return found;
  try {
    return JSON.parse(found) ?? {};
  } catch {
    return {};
  }
}

// Only the bridge's own answer counts; a proxy may answer in its place.
const isProblem = /^application\/problem\+json/.test(answer.headers?.['content-type'] ?? '');
const taken = status >= 200 && status < 300 && parsed(answer.body ?? answer.data ?? '').id !== undefined;
if (taken) return [{ json: { route: 'delivered', attempt } }];
const hopeless = isProblem && [400, 404, 413, 415, 422].includes(status); // a wrong key (401, 403) can be mended
const waitSeconds = WAITS[attempt - 1];
const body = answer.body ?? answer.data ?? ''; // an object, or a text, depending on its type and the way it was sent
const text = typeof body === 'string' ? body : JSON.stringify(body);
const said = status === undefined ? `no answer (${answer.error?.message ?? answer.error})` : `${status} ${text}`;
const route = hopeless || waitSeconds === undefined ? 'undeliverable' : 'again';
return [{ json: { route, attempt, waitSeconds, answer: said.slice(0, 500), executionId: $execution.id } }];
