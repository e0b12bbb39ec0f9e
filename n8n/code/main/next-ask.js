// Writes the next ask, or ends when there were too many.
// N8N's Retry continues with the data of another execution: its grant is not ours, so this execution asks anew.
const { requestId, correlationId, url, headers, quietFor } = $('Check the event').first().json;
const SILENT_MAX = 120_000; // milliseconds without an answer
const WAITING_MAX = 600_000; // while another execution holds the grant
const earlier = $input.first().json.ask;
const now = Date.now();

const fresh = { executionId: $execution.id, refusals: 0, endedJobs: 0 };
const ask = earlier?.executionId === $execution.id ? { ...earlier } : fresh;
// The same key again is the same question. It is kept until it is answered, and while its grant is unused.
ask.askKey ??= Array.from({ length: 4 }, () => Math.random().toString(36).slice(2, 10)).join('');
ask.askedAt = now; // a grant is valid from here on, whenever its answer arrives

function giveUp(why) {
  throw new Error(`Request ${requestId}: ${why}. Nothing was submitted, and the bridge sends the request again [seen to].`);
}
if (now - (ask.silentSince ?? now) > SILENT_MAX) giveUp('the bridge did not say within 2 minutes whether to go on');
if (now - (ask.waitingSince ?? now) > WAITING_MAX) giveUp('another execution has held the grant for 10 minutes');

const body = JSON.stringify({ correlationId, executionId: $execution.id, askKey: ask.askKey, quietFor, ...ask.flags });
return [{ json: { ask, url, headers, body } }];
