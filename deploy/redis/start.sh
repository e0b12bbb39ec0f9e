#!/bin/sh
# Starts the Redis of N8N's queue mode. Its configuration comes through standard input, because on the command line
# every process could see the password. What is given here as arguments is added to it.
set -eu

exec redis-server - "$@" <<END
requirepass $(cat "${SECRETS_DIR:-/run/secrets}/redis_password")
# Executions that wait for a worker survive a restart: at most the last second is lost. The bridge sends those again.
appendonly yes
appendfsync everysec
save ""
# Never drops a waiting execution to make room.
maxmemory-policy noeviction
END
