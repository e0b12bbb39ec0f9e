#!/usr/bin/env node
// Fills in what differs from one installation to the next, and writes what N8N imports: workflows with your settings, and
// credentials with your keys.
//
//   node prepare.js OUT [SETTINGS [SECRETS]]
//
// SETTINGS: a JSON file like settings.json beside this script, which is the default. A file beside it whose name ends in
// .local.json (settings.local.json) has your own values, which win. SECRETS: a folder with one file for
// each secret (../secrets by default, made by deploy/secrets.sh). A secret that has no file there is taken from the
// environment variable of its name. OUT then holds keys in clear text: delete it after the import, as import.sh does.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const BRIDGE_SECRET = 'AIGEN_N8N__SIGNING_SECRET'; // may be absent: then the bridge's signature is not checked
const WORKFLOWS = ['aigen-dead-letter', 'aigen-main'];
const [out, settingsFile = path.join(__dirname, 'settings.json'), secrets = path.join(__dirname, '..', 'secrets')] =
  process.argv.slice(2);

function fail(message) {
  console.error(message);
  process.exit(1);
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    return fail(`${file} cannot be read as JSON: ${error.message}`);
  }
}

function readSettings(file) {
  const settings = readJson(file);
  if (settings.aiUrl && !settings.aiMode) {
    // Settings of an earlier version name the address of the synchronous service; the queue has another one.
    settings.aiMode = 'sync';
    console.error(`${file} has an aiUrl and no aiMode, so the AI service is asked synchronously, as before.`);
  }
  return settings;
}

function given(name) {
  const file = path.join(secrets, name);
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim() : process.env[name];
}

function secret(name) {
  const value = given(name);
  if (value) return plain(value);
  // N8N wants a credential where a workflow names one. Nobody knows this secret, so no signature fits it.
  if (name === BRIDGE_SECRET) return crypto.randomBytes(32).toString('hex');
  return fail(`There is no secret ${name}: put it into ${path.join(secrets, name)}, or into the environment.`);
}

// A signing secret is known as whsec_ and base64; N8N's Crypto node takes the text that it stands for.
function plain(value) {
  if (!value.startsWith('whsec_')) return value;
  const text = Buffer.from(value.slice('whsec_'.length), 'base64').toString('latin1');
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  return fail('N8N takes a signing secret as text, and this one is not printable. Make one with: aigen-bridge keys new --client n8n --scope callbacks --signing');
}

// Each workflow's node "Settings" takes those of the settings that it has a line for.
function withSettings(workflow, settings) {
  const node = workflow.nodes.find(({ name }) => name === 'Settings');
  const known = JSON.parse(node.parameters.jsonOutput).settings;
  const wanted = Object.fromEntries(Object.entries(settings).filter(([name]) => name in known));
  node.parameters.jsonOutput = JSON.stringify({ settings: { ...known, ...wanted } }, null, 2);
  return workflow;
}

function write(file, content) {
  fs.writeFileSync(file, JSON.stringify(content, null, 2), { mode: 0o600 });
}

if (!out) fail('usage: node prepare.js OUT [SETTINGS [SECRETS]]');
const ownFile = settingsFile.replace(/\.json$/, '.local.json');
const settings = { ...readSettings(settingsFile), ...(fs.existsSync(ownFile) ? readSettings(ownFile) : {}) };
const wrong = [settings.aiOrigins ?? []].flat().filter((origin) => !/^https?:\/\/[\w.-]+(:\d+)?\/?$/i.test(origin));
if (wrong.length > 0) fail(`The settings have aiOrigins that are no origins such as "https://fal.run": ${wrong.join(', ')}`);
const { price } = settings;
const isAmount = /^\d{1,12}(\.\d{0,9})?$/.test(typeof price?.amount === 'number' ? price.amount.toFixed(9) : price?.amount);
const isPrice = isAmount && /^[A-Z]{3}$/.test(price.currency) && ['image', 'megapixel'].includes(price.per);
if (price && !isPrice) {
  console.error('The price in the settings has not the form {"amount": "0.035", "currency": "USD", "per": "image"}, so requests without a model of the catalogue report no cost.');
}
settings.verifySignature = Boolean(given(BRIDGE_SECRET));
if (!settings.verifySignature) {
  console.error(`There is no secret ${BRIDGE_SECRET}, so the webhook does not verify the bridge's signature.`);
}
const template = fs.readFileSync(path.join(__dirname, 'credentials.json'), 'utf8');
const credentials = JSON.parse(template, (_, value) =>
  typeof value === 'string' ? value.replace(/<(\w+)>/, (_whole, name) => secret(name)) : value,
);
fs.mkdirSync(path.join(out, 'workflows'), { recursive: true, mode: 0o700 });
write(path.join(out, 'credentials.json'), credentials);
for (const name of WORKFLOWS) {
  const workflow = readJson(path.join(__dirname, `${name}.json`));
  write(path.join(out, 'workflows', `${name}.json`), withSettings(workflow, settings));
}
