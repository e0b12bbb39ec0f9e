#!/bin/sh
# Asks the bridge for an image, as Odoo does, waits for it and keeps it as first-image. Odoo has no record of it, so the
# request says `deliver: false`: the bridge does not try to deliver it.
#
#   n8n/first-image.sh [BRIDGE [KEYFILE]]     http://127.0.0.1:8000 and secrets/client_key_odoo, if not given
#   MODEL_ID=… n8n/first-image.sh             a model of the bridge's catalogue, if that is not empty
set -eu

bridge=${1:-http://127.0.0.1:8000}
key=$(cat "${2:-$(dirname "$0")/../secrets/client_key_odoo}")
requests=$bridge/api/v1/influencegen/ai-image-requests

uuid() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n' | sed -E 's/(.{8})(.{4})(.{4})(.{4})/\1-\2-\3-\4-/'; }
call() { curl --silent --show-error --fail-with-body --max-time 30 --header "X-API-Key: $key" "$@"; }
status() { call "$requests/$id" | sed -nE 's/.*"status":"([a-z]+)".*/\1/p'; }

id=$(uuid)
answer=$(call --header 'Content-Type: application/json' "$requests" --data "{
  \"requestId\": \"$id\", \"correlationId\": \"$(uuid)\", \"userId\": \"$(uuid)\", \"modelId\": \"${MODEL_ID:-$(uuid)}\",
  \"prompt\": \"A lighthouse above a stormy sea at dusk, oil painting\", \"resolution\": \"1024x768\", \"aspectRatio\": \"4:3\",
  \"deliver\": false}") || { echo "The bridge does not accept the request: $answer" >&2; exit 1; }
echo "Request $id is accepted."

before=
while :; do
    found=$(status)
    case $found in
    completed) break ;;
    failed | cancelled) echo "It is $found:" && call "$requests/$id/timeline" && exit 1 ;;
    "" | "$before") ;;
    *) before=$found && echo "It is $found …" ;;
    esac
    sleep 1
done
call --output first-image "$requests/$id/image"
echo "The image is in ./first-image ($(wc -c <first-image) bytes)."
