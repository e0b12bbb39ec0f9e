// Made only when it is still wanted. When the bridge cannot say, it is made: a person waits for it.
const { statusCode, body } = $input.first().json;

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

const said = parsed(body);
if (statusCode === 200 && said.wanted === false) return [{ json: { route: 'withdrawn', status: said.status } }];
if (statusCode === 404 && said.code === 'request_unknown') return [{ json: { route: 'unknown' } }];
return [{ json: { route: 'wanted' } }];
