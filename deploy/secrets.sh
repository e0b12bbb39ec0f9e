#!/bin/sh
# Makes a random value for every secret, one file each, in ./secrets (or the folder given as the first argument).
# Safe to run again: a value that is there is never changed. See docs/deployment.md.
#
# The folder opens for its owner only, and that is the protection. The files inside can be read by everyone, because
# compose mounts them one by one with the owner and mode that they have here, and the services that must read them run
# under different user ids (the bridge 10001, PostgreSQL 999, N8N 1000, Odoo its own).
set -eu
umask 077

# Without an argument it is for compose, which mounts these as they are, too: a clone, a pull or a restored backup under
# another umask than usual would make them unreadable for the services.
if [ $# = 0 ]; then
    cd "$(dirname "$0")/.."
    find addons deploy n8n \( ! -perm -004 -o -type d ! -perm -001 \) -exec chmod go+rX {} +
    [ ! -d secrets ] || { chmod 700 secrets && find secrets -type f ! -perm -004 -exec chmod 644 {} +; }
    set -- secrets
fi
mkdir -p "$1"
chmod o-rwx "$1"
cd "$1"

# keep NAME: what comes in becomes the file, unless there is one. It appears whole or not at all.
keep() {
    [ -e "$1" ] && return
    cat >".$1.new"
    chmod 644 ".$1.new"
    mv ".$1.new" "$1"
    echo "made $1"
}

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

# client NAME SCOPES: the bridge is told only the hash of a client's key.
client() { printf '"%s": {"keys": ["sha256:%s"], "scopes": [%s]%s}' "$1" "$(sha256 <"client_key_$1")" "$2" "${3:-}"; }

# A signing secret is known as whsec_ and the base64 of its bytes, which are text here, because N8N takes text.
signing_secret() { printf 'whsec_%s' "$(random | cut -c 1-48 | tr -d '\n' | base64)"; }

clients() {
    signed=$(printf '"signing_secrets": ["%s"], "signature_required": true' "$(cat signing_secret_n8n)")
    printf '{\n  %s,\n  %s,\n  %s\n}\n' \
        "$(client odoo '"requests"')" \
        "$(client n8n '"callbacks"' ", $signed")" \
        "$(client ops '"ops", "requests"')"
}

for name in postgres_password postgres_aigen_password postgres_odoo_password postgres_n8n_password \
    redis_password n8n_encryption_key odoo_admin_password grafana_admin_password \
    client_key_odoo client_key_n8n client_key_ops AIGEN_N8N__API_KEY; do
    random | keep "$name"
done
printf 'postgresql://aigen:%s@postgres/aigen' "$(cat postgres_aigen_password)" | keep AIGEN_DATABASE_URL
signing_secret | keep signing_secret_n8n
signing_secret | keep AIGEN_N8N__SIGNING_SECRET
keep AIGEN_N8N__SIGNING_SECRETS </dev/null # holds the old secret while it is being replaced
clients | keep AIGEN_CLIENTS
keep AIGEN_ODOO__API_KEY </dev/null
echo '{}' | keep AIGEN_ODOOS # more Odoo databases, with their API keys: docs/several-odoos.md
keep AIGEN_ALERTS__URLS </dev/null # who is told of outages: docs/deployment.md, "Outages and alerts"
keep ai_service_key </dev/null

# by_hand NAME WORDS: says what is still missing.
by_hand() { [ -s "$1" ] || printf '\n%s\n      is empty. %s\n' "$(pwd)/$1" "$2"; }

if ! { [ -s AIGEN_ODOO__API_KEY ] && [ -s ai_service_key ]; }; then
    printf '\nStill to be done by hand (docs/deployment.md tells how):\n'
fi
by_hand AIGEN_ODOO__API_KEY 'Once Odoo runs, deploy/odoo/bot-key.sh makes the key and writes it there.'
by_hand ai_service_key 'It takes your key of the AI service, for N8N.'
