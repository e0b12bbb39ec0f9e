#!/bin/sh
# PostgreSQL's archive_command: keeps a file of the write-ahead log in a folder, whole or not at all.
#
#   archive_command = '/bin/sh /deploy/archive.sh FOLDER %p %f'
#
# PostgreSQL tries again until the exit status is 0. After a crash it may offer a file again that is there already. Another file of
# that name is never replaced: then two servers archive into the same folder, and cmp says in PostgreSQL's log where they differ.
set -eu
umask 077

kept=$1/$3
if [ -e "$kept" ]; then
    cmp "$2" "$kept"
else
    cp "$2" "$kept.new"
    sync "$kept.new"
    mv "$kept.new" "$kept"
fi
sync "$1"
