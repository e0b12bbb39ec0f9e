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

folder=${1:?the folder for the dumps} database=${2:?the name of the database}
shift 2
days=${BACKUP_DAYS:-14}
case $days in *[!0-9]* | 0*) echo "BACKUP_DAYS is '$days'. It has to be a number from 1." >&2 && exit 2 ;; esac

name=${database#service=}
mkdir -p "$folder"
new=$(mktemp "$folder/$name-$(date -u +%Y%m%dT%H%M%SZ).dump.XXXXXX")  # another one may begin in the same second
trap 'rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM

"$@" pg_dump --format=custom --dbname="$database" </dev/null >"$new"
# Reads everything. `pg_restore --list` reads the beginning only, and would accept half a dump.
"$@" pg_restore --file=/dev/null <"$new"
sync "$new"
mv "$new" "${new%.*}"
sync "$folder"
# With what a killed backup left. Not with the dumps of a database whose name begins with this one.
find "$folder" -name "$name-????????T??????Z.dump*" -mmin "+$((days * 1440))" -delete
echo "${new%.*}"
