#!/bin/bash
# Behaves as the start of the official image does: makes the database where there is none, then becomes the server.
set -Eeo pipefail

secret() { # secret NAME DEFAULT: the variable, or the content of the file that NAME_FILE names
    local file=${1}_FILE
    if [ -n "${!file}" ]; then cat "${!file}"; else printf %s "${!1:-$2}"; fi
}

folders() {
    mkdir -p "$PGDATA" /var/run/postgresql
    chmod 00700 "$PGDATA" || :
    chmod 03775 /var/run/postgresql || :
    if [ "$(id -u)" = 0 ]; then find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres '{}' +; fi
}

scripts() {
    local script
    for script; do
        case "$script" in
        *.sh)
            # One that may not be executed is read into this shell instead, so that a missing mode does no harm.
            if [ -x "$script" ]; then echo "$0: running $script"; "$script"; else echo "$0: sourcing $script"; . "$script"; fi ;;
        *.sql) echo "$0: running $script"; psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --file "$script" ;;
        *) echo "$0: ignoring $script" ;;
        esac
    done
}

new_database() {
    ls /docker-entrypoint-initdb.d/ >/dev/null
    if [ -z "$POSTGRES_PASSWORD" ]; then
        echo "Error: Database is uninitialized and superuser password is not specified." >&2
        exit 1
    fi
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")
    printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start
    export PGPASSWORD=$POSTGRES_PASSWORD
    if [ "$POSTGRES_DB" != postgres ]; then createdb --username="$POSTGRES_USER" "$POSTGRES_DB"; fi
    scripts /docker-entrypoint-initdb.d/*
    unset PGPASSWORD
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
    echo "PostgreSQL init process complete; ready for start up."
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
if [ "$1" = postgres ]; then
    folders
    if [ "$(id -u)" = 0 ]; then exec gosu postgres "$BASH_SOURCE" "$@"; fi
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        POSTGRES_PASSWORD=$(secret POSTGRES_PASSWORD)
        POSTGRES_USER=$(secret POSTGRES_USER postgres)
        POSTGRES_DB=$(secret POSTGRES_DB "$POSTGRES_USER")
        new_database
    fi
fi
exec "$@"
