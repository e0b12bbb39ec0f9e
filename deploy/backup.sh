#!/bin/sh
# Dumps one database into a new file of a folder, and deletes dumps older than BACKUP_DAYS (14).
#
#   deploy/backup.sh FOLDER DATABASE [COMMAND…]
#
# DATABASE is a name, or `service=NAME` of libpq's connection service file; the other settings are libpq's own (PGHOST, PGPASSFILE,
# …), so that no password is on a command line. COMMAND runs PostgreSQL's programs elsewhere: docker compose exec -T postgres
#
# The dump gets its name only when it is whole: read back from the first to the last byte, and on disk. If any of this fails,
# the exit status is not 0, and the earlier dumps stay.
set -eu
umask 077

folder=$1 database=$2
shift 2
name=${database#service=}
dump="$folder/$name-$(date -u +%Y%m%dT%H%M%SZ).dump"
mkdir -p "$folder"
trap 'rm -f "$dump.new"' EXIT
trap 'exit 1' HUP INT TERM

"$@" pg_dump --no-password --format=custom --dbname="$database" </dev/null >"$dump.new"
# Reads everything. `pg_restore --list` reads the beginning only, and would accept half a dump.
"$@" pg_restore --file=/dev/null <"$dump.new"
sync "$dump.new"
mv "$dump.new" "$dump"
sync "$folder"
find "$folder" -name "$name-[0-9]*Z.dump" -mtime "+${BACKUP_DAYS:-14}" -delete
echo "$dump"
