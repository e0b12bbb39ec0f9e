#!/bin/sh
# PostgreSQL's archive_command: keeps a file of the write-ahead log in a folder, whole or not at all.
#
#   archive_command = '/bin/sh /deploy/archive.sh FOLDER %p %f'
#
# PostgreSQL tries again until the exit status is 0. After a crash it may offer a file again that is there already.
set -eu
umask 077

kept=$1/$3
[ ! -e "$kept" ] || exec cmp -s "$2" "$kept"
cp "$2" "$kept.new"
sync "$kept.new"
mv "$kept.new" "$kept"
sync "$1"
