# The base brings Python 3.11 or newer as `python3`, with its venv module, and the usual certificates.
# Debian's own Python fulfils that as well as the official Python image.
# The digest is the one in the record of the official images (docs/release.md says how to renew it).
ARG PYTHON_IMAGE=python:3.13.14-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8

FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.9
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/aigen-bridge \
    UV_PYTHON=python3 \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src

# The optional secret `ca` lies over the certificates while a command runs: builds behind a company's own
# authority work, and its certificate stays out of the image.
# uv gets an environment of its own, because Debian lets nobody install into its Python.
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /uv && /uv/bin/pip install --no-cache-dir --quiet uv==${UV_VERSION}

# What others wrote changes seldom, what we wrote often: two layers.
COPY pyproject.toml uv.lock ./
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    /uv/bin/uv sync --frozen --no-dev --group container --extra marking --extra otel --no-install-project

COPY README.md LICENSE ./
COPY migrations migrations
COPY docs/operations.md docs/operations.md
COPY src src
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    /uv/bin/uv sync --frozen --no-dev --group container --extra marking --extra otel --no-editable


FROM ${PYTHON_IMAGE}

# Fixed numbers, so that rules about users (volumes, Kubernetes' runAsUser) can name them.
RUN groupadd --gid 10001 aigen \
    && useradd --uid 10001 --gid aigen --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin aigen

# Official Python images ship the standard library uncompiled. With a read-only root it would be compiled in memory at
# every start (half a second) and for every health check. What does not compile is left as it is.
RUN python3 -m compileall -q -j 0 "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" || true

ENV PATH=/opt/aigen-bridge/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# Owned by root: the service cannot change its own code.
COPY --from=build /opt/aigen-bridge /opt/aigen-bridge

WORKDIR /opt/aigen-bridge
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM

# Not urllib: it would ask a proxy that the environment names. A worker has no HTTP: replace this check there.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["python3", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); c.request('GET', '/health/live'); exit(c.getresponse().status != 200)"]

# The kernel drops a SIGTERM for process 1 that it does not handle yet: Python would ignore it for its first seconds and be
# killed at the end of the grace period. dumb-init handles it from the start, reaps orphans, and passes exit statuses on.
# --single-child: the signal is for the service, which ends its own child processes.
ENTRYPOINT ["dumb-init", "--single-child", "--", "aigen-bridge"]
CMD ["serve", "--host", "0.0.0.0"]

# REVISION is the commit. PYTHON_IMAGE is repeated here to be readable after FROM.
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="aigen-bridge" \
      org.opencontainers.image.description="Carries AI image requests from Odoo to N8N and the results back" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
