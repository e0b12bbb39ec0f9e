#!/bin/sh
# Makes an API key for the user that the bridge logs in with, in the Odoo of docker-compose.yml, and writes it into
# secrets/AIGEN_ODOO__API_KEY. The file is changed only when there is a key, and in place, because containers mount the file.
set -eu
cd "$(dirname "$0")/../.."

key=$(docker compose exec -T odoo sh /deploy/start.sh shell --no-http <deploy/odoo/bot_key.py) || {
    echo "Odoo made no key; secrets/AIGEN_ODOO__API_KEY is as it was. Is Odoo running? See: docker compose ps odoo" >&2
    exit 1
}
case $key in
*[!0-9a-f]* | '')
    echo "Odoo answered something else than a key; secrets/AIGEN_ODOO__API_KEY is as it was. See: docker compose logs odoo" >&2
    exit 1
    ;;
esac
printf %s "$key" >secrets/AIGEN_ODOO__API_KEY
echo "The new key is in secrets/AIGEN_ODOO__API_KEY."
