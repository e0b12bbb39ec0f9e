// Which try this is, and the text that is signed: a new time for each try, the same id and the same event.
const { event, messageId } = $('Write the result').first().json;
const attempt = ($input.first().json.attempt ?? 0) + 1;
const timestamp = Math.floor(Date.now() / 1000).toString();
return [{ json: { attempt, timestamp, signed: `${messageId}.${timestamp}.${event}` } }];
