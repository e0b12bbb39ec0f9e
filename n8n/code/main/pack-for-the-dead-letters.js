// What operations need to finish this by hand: the result without its image, the image beside it, and the story.
const { json, binary } = $('Write the result').first();
const { attempt, answer } = $('Read the bridge answer').first().json;
const { settings } = $('Check the event').first().json;
const { imageData, imageUrl, ...result } = JSON.parse(json.event);
const report = {
  workflow: $workflow.name,
  workflowVersion: result.workflowVersion,
  executionId: $execution.id,
  executionUrl: `${settings.n8nUrl.replace(/\/+$/, '')}/workflow/${$workflow.id}/executions/${$execution.id}`,
  requestId: result.requestId,
  correlationId: result.correlationId,
  errorMessage: `The callback could not be delivered in ${attempt} tries. Last: ${answer}`,
  result,
};
return [binary ? { json: { report }, binary } : { json: { report } }];
