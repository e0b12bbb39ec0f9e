// One report, whichever way it came: handed over by a workflow with the result, or an execution that failed.
const { json, binary } = $input.first();
const SEEN_TO = '[seen to]'; // in the error of an execution whose result is already in somebody's care

function ofFailure({ workflow, execution, trigger }) {
  const error = execution?.error ?? trigger?.error ?? {};
  const said = error.context?.metadata ?? {}; // what a "Stop and Error" node knows
  return {
    workflow: workflow?.name,
    workflowVersion: said.workflowVersion,
    executionId: execution?.id,
    executionUrl: execution?.url,
    requestId: said.requestId,
    correlationId: said.correlationId,
    node: execution?.lastNodeExecuted,
    errorName: error.name, // tells the bridge whether N8N died or the workflow failed
    errorMessage: String(error.message ?? 'The execution failed without a word.').slice(0, 1000),
  };
}

// A text that was cut in the middle of an emoji holds half a character, which no program has to accept.
const wellFormed = (_name, value) => (typeof value === 'string' ? (value.toWellFormed?.() ?? value) : value);

const report = json.report ?? ofFailure(json);
const isNews = json.report !== undefined || !report.errorMessage.includes(SEEN_TO);
const event = JSON.stringify(report, wellFormed);
const item = { json: { isNews, report, event, hasImage: binary?.image !== undefined } };
return [binary ? { ...item, binary } : item];
