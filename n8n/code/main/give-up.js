// The execution fails here, so that N8N shows it and offers "Retry". A retry is an execution of its own: it comes back to
// this node, sees that the tries so far were another's, and sends the result once more. If that fails, it ends here, too.
const { executionId } = $('Sign the result').first().json;
if (executionId !== $execution.id) return [{ json: { attempt: 0 } }];

const { requestId } = $('Check the event').first().json;
const { route, answer, attempt } = $('Read the bridge answer').first().json;
const where = route === 'kept' ? 'the bridge keeps it for operations' : 'it was handed over to aigen-dead-letter';
throw new Error(`Request ${requestId}: the result was not delivered in ${attempt} tries; ${where} [seen to]. Last answer: ${answer}`);
