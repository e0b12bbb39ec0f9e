#!/bin/sh
# Runs once, when PostgreSQL's volume is empty: one role and one database for each application. A role owns its
# database and cannot enter the others'.
set -eu

secrets=${SECRETS_DIR:-/run/secrets}

for name in aigen odoo n8n; do
    # psql reads the password itself, so that it is on no command line.
    PASSWORD_FILE=$secrets/postgres_${name}_password psql --no-psqlrc --quiet --username=postgres --dbname=postgres \
        --set=ON_ERROR_STOP=1 --set=name="$name" <<'SQL'
\set password `cat "$PASSWORD_FILE"`
CREATE ROLE :"name" LOGIN PASSWORD :'password';
-- Odoo wants text sorted by bytes; the others do not mind.
CREATE DATABASE :"name" OWNER :"name" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C';
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
