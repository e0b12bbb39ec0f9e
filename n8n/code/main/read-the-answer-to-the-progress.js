// Whether the image is still wanted. Without an answer the execution goes on: the job is paid for.
const { statusCode, body, data } = $input.first().json;
const { job, word, next, isHeldBack, waitSeconds, told } = $('Sign the word').first().json;

function parsed(found) {
  if (typeof found !== 'string') return found;
  try {
    return JSON.parse(found) ?? {};
  } catch {
    return {};
  }
}

const said = parsed(body ?? data ?? '');
const isTaken = statusCode === 200 && said.wanted !== undefined;
const isAnother = word === 'job' && statusCode === 409 && said.providerJob && said.providerJob.jobId !== job.jobId;
if ((isTaken && said.wanted === false) || isAnother) return [{ json: { route: 'cancel', job } }];
if (!job.statusUrl || !job.responseUrl) {
  const message = 'The AI service gave the job addresses at another origin than that of the model.';
  return [{ json: { route: 'failed', code: 'job_out_of_reach', message } }];
}
const isNamed = job.isNamed || isTaken;
const route = isHeldBack && !isNamed ? 'look' : next;
const known = isTaken && word === 'progress' ? { told, toldAt: Date.now() } : {};
return [{ json: { route, waitSeconds, job: { ...job, isNamed, ...known } } }];
