// Which try this is, and the text that is signed. The id is the same in every try, so that the bridge knows a repeat.
const { event, report } = $('Describe what happened').first().json;
const attempt = ($input.first().json.attempt ?? 0) + 1;
const timestamp = Math.floor(Date.now() / 1000).toString();
const messageId = `msg_dead_${report.executionId ?? $execution.id}`;
return [{ json: { attempt, timestamp, messageId, signed: `${messageId}.${timestamp}.${event}` } }];
