// An image, another try, or a failure in the AI service's own words.
const answer = $input.first().json;
const { attempt } = $('Next try at the AI').first().json;
const TRIES = 3;
const TRANSIENT = [429, 503, 504]; // what fal documents as worth another try; the others are answers

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

function silence(error) {
  const said = `${error.code ?? ''} ${error.message ?? error}`;
  const late = /ETIMEDOUT|ECONNABORTED|timeout|timed out/i.test(said);
  return late
    ? { code: 'ai_timeout', message: 'The AI service did not answer in time.', transient: true }
    : { code: 'ai_unreachable', message: 'The AI service could not be reached.', transient: true };
}

// fal has two shapes: the model's {detail: [{type, msg}]} and the infrastructure's {detail, error_type}.
function refusal(status, { detail, error_type: type }) {
  const first = Array.isArray(detail) ? detail[0] : { type, msg: detail };
  const message = typeof first?.msg === 'string' ? first.msg : `The AI service answered ${status}.`;
  return { code: first?.type ?? `ai_http_${status}`, message, transient: TRANSIENT.includes(status) };
}

function problem(status, output) {
  if (answer.error) return silence(answer.error);
  if (status < 200 || status > 299) return refusal(status, output);
  if (typeof output.images?.[0]?.url !== 'string') {
    return { code: 'ai_no_image', message: 'The AI service answered without an image.' };
  }
  if (output.has_nsfw_concepts?.[0] === true) {
    return { code: 'nsfw_content', message: "The AI service's safety checker withheld the image." };
  }
  return null;
}

const output = parsed(answer.body);
const found = problem(answer.statusCode, output);
if (found === null) return [{ json: { route: 'image', url: output.images[0].url, seed: output.seed } }];
const again = found.transient && attempt < TRIES;
return [{ json: { route: again ? 'again' : 'failed', attempt, code: found.code, message: found.message } }];
