#!/bin/sh
# Starts Odoo. The database's password reaches it through the environment that PostgreSQL's client library reads: on
# the command line, where the image's own start script puts it, every process could see it.
set -eu

PGPASSWORD=$(cat /run/secrets/postgres_odoo_password)
export PGPASSWORD
exec odoo "$@"
