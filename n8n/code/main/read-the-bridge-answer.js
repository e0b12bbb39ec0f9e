// Decides what follows a try that "Delivered?" did not recognise as delivered: another try, or giving up. Waits: 1, 2 and
// 4 s, or longer when the bridge asks for it.
const answer = $input.first().json;
const { attempt, isLooked } = $('Sign the result').first().json;
const { binary } = $('Write the result').first();
const WAITS = [1, 2, 4];
const ASKED_MAX = 60; // seconds; a silence that is much longer makes the bridge send the request again
const KEPT = [404, 409, 422]; // the bridge has put the callback aside for operations itself
const status = answer.statusCode;

function askedWait() {
  const said = answer.headers?.['retry-after'];
  if (said === undefined) return 0;
  const seconds = /^\d+$/.test(said) ? Number(said) : (Date.parse(said) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? 0 : Math.min(Math.max(0, seconds), ASKED_MAX);
}

function isProblem() {
  return /^application\/problem\+json/.test(answer.headers?.['content-type'] ?? '');
}

function body() {
  const found = answer.body ?? answer.data ?? ''; // an object, or a text, depending on its type and the way it was sent
  if (typeof found !== 'string') return found;
  try {
    return JSON.parse(found) ?? {};
  } catch {
    return {};
  }
}

// A proxy before the bridge may answer in its place: with a page and 200, a redirect, or 404 while the bridge restarts.
const taken = status >= 200 && status < 300 && body().requestId !== undefined;
const isStranger = (status >= 200 && status < 400 && !taken) || (status === 404 && !isProblem());

function said() {
  if (status === undefined) return `no answer (${answer.error?.message ?? answer.error ?? 'unknown'})`;
  const found = answer.body ?? answer.data ?? '';
  return `${status} ${(typeof found === 'string' ? found : JSON.stringify(found)).slice(0, 500)}`;
}

if (taken) return [{ json: { route: 'delivered', attempt } }];
const passing = status === undefined || status >= 500 || [408, 425, 429].includes(status) || isStranger;
const wait = WAITS[attempt - 1];
if (passing && wait !== undefined) {
  return [{ json: { route: 'again', attempt, waitSeconds: Math.max(wait, askedWait()) } }];
}
// What was said about the image is wrong: its bytes are read, and the result is sent with what they say.
if (status === 422 && binary && !isLooked && /imageMetadata/.test(said())) return [{ json: { route: 'look' }, binary }];
const route = KEPT.includes(status) && isProblem() ? 'kept' : 'undeliverable';
return [{ json: { route, attempt, answer: said() } }];
