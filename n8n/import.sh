#!/bin/sh
# Brings the workflows and their credentials into an N8N and publishes them; running it again upgrades them.
#
#   n8n/import.sh [SETTINGS [SECRETS]]     as for prepare.js
#
# Acts on the N8N that the command `n8n` (or $N8N) acts on. A running one has to be started again afterwards.
set -eu
umask 077

here=$(cd "$(dirname "$0")" && pwd)
n8n=${N8N:-n8n}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

node "$here/prepare.js" "$work" "$@"
$n8n import:credentials --input="$work/credentials.json"
$n8n import:workflow --separate --input="$work/workflows"
# An import takes a workflow out of service. The error workflow comes first, because the other one needs it.
$n8n publish:workflow --id=aigen-dead-letter
$n8n publish:workflow --id=aigen-main
