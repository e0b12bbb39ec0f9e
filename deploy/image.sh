#!/bin/sh
# Builds the container image and proves that it works: migrate, serve and worker run in it as they do in production,
# against a real PostgreSQL. Prints size, user, health and start time; exit status 0 only if everything worked.
#
# With a Docker engine, the image is built on its usual base. With IMAGE_BASE=local, or when there is no engine, it is
# proved on a machine that reaches no image registry: as root on Debian, with an engine started for the purpose and
# a base made of Debian's packages. The result of that is thrown away, unless it is saved.
#
# --save FILE writes the archive for `docker load`; --facts FILE what the image is made of. Both are for `make release`.
set -eu
cd "$(dirname "$0")/.."

engine() { docker info >/dev/null 2>&1; }

if [ "${IMAGE_BASE:-}" != local ] && ! engine; then
    echo "No Docker engine answers: a local one is started, on a base of Debian's packages."
    IMAGE_BASE=local
fi
if [ "${IMAGE_BASE:-}" = local ] && ! { [ -x /usr/sbin/dockerd ] && [ -x /usr/sbin/debootstrap ]; }; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "That needs root on Debian. Or start a Docker engine." >&2
        exit 1
    fi
    apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
        docker.io debootstrap >/dev/null
fi

[ -x .venv/bin/python ] || make setup
exec .venv/bin/python deploy/image ${IMAGE_BASE:+--base "$IMAGE_BASE"} "$@"
