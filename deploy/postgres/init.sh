#!/bin/sh
# One role and one database for each application, where they are missing. A role owns its database and cannot enter the
# others'. What is there already is left as it is, also its password.
set -eu

secrets=${SECRETS_DIR:-/run/secrets}

# password NAME: of that role. An unreadable or empty one would give the role no password, and nobody could log in.
password() {
    [ -s "$secrets/postgres_$1_password" ] && cat "$secrets/postgres_$1_password" && return
    echo "The secret postgres_$1_password is missing or empty. Run deploy/secrets.sh, then: docker compose up --detach" >&2
    return 1
}

PGPASSWORD=$(cat "$secrets/postgres_password")
export PGPASSWORD
psql --no-psqlrc --quiet --username=postgres --dbname=postgres --command= || {
    echo "If PostgreSQL refuses the password: its volume was made with another secrets/postgres_password. Restore that file." >&2
    exit 1
}

for name in aigen odoo n8n; do
    # In the environment of psql, which reads it itself, so that it is on no command line.
    ROLE_PASSWORD=$(password "$name")
    export ROLE_PASSWORD
    psql --no-psqlrc --quiet --username=postgres --dbname=postgres --set=ON_ERROR_STOP=1 --set=name="$name" <<'SQL'
\set password `printf %s "$ROLE_PASSWORD"`
SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', :'name', :'password')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
-- Odoo wants text sorted by bytes; the others do not mind.
SELECT format('CREATE DATABASE %I OWNER %1$I TEMPLATE template0 ENCODING ''UTF8'' LC_COLLATE ''C''', :'name')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
