// Runs the code of Code nodes as N8N does, as far as that code can tell. Each line of its input is a list of runs as JSON;
// each line of its output has the results.
'use strict';
const fs = require('node:fs');
const readline = require('node:readline');
const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;

// What N8N knows of a file without reading it: `meta` adds to it.
const binary = (file, meta) => ({ image: { mimeType: 'x', data: file, ...meta } });
const item = ({ json = {}, file, meta } = {}) => (file ? { json, binary: binary(file, meta) } : { json });

async function run({ code, input, nodes = {}, execution = '7' }) {
  const given = item(input);
  const self = { helpers: { getBinaryDataBuffer: async (_, name) => Buffer.from(given.binary[name].data, 'base64') } };
  const node = (name) => ({
    isExecuted: name in nodes,
    first: () => {
      if (!(name in nodes)) throw new Error(`The node ${name} has not run.`);
      return item(nodes[name]);
    },
  });
  const scope = {
    $input: { first: () => given },
    $: node,
    $execution: { id: execution },
    $workflow: { id: 'aigen-main', name: 'aigen-main' },
  };
  const call = new AsyncFunction(...Object.keys(scope), fs.readFileSync(code, 'utf8'));
  try {
    return { items: await call.apply(self, Object.values(scope)) };
  } catch (error) {
    return { error: error.message };
  }
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  console.log(JSON.stringify(await Promise.all(JSON.parse(line).map(run))));
});
