# kinewax in an image: non-root, read-only but for /var/lib/kinewax and /tmp.
#
#     make image                     with docker or buildah, whichever is there
#     docs/how-to/image.md           how to run it, what is in it, how it is tested
#
# Nothing is downloaded but the wheels of requirements.lock, each checked by its hash.
ARG BASE_IMAGE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# First what seldom changes.
COPY requirements.lock requirements-dev.lock ./
RUN python3 -m venv /opt/kinewax \
    && /opt/kinewax/bin/pip install --require-hashes --only-binary :all: --no-deps -r requirements.lock
RUN python3 -m venv /opt/builder \
    && awk '/^[a-z]/ {own = /^setuptools==/} own' requirements-dev.lock > setuptools.lock \
    && /opt/builder/bin/pip install --require-hashes --only-binary :all: --no-deps -r setuptools.lock

COPY . .
RUN /opt/builder/bin/pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
    && /opt/kinewax/bin/pip install --no-index --no-deps dist/*.whl \
    && sh deploy/image/leave-out /opt/kinewax \
    && install -m 0755 deploy/image/entrypoint /opt/kinewax/bin/entrypoint \
    && install -m 0644 deploy/image/processor /opt/kinewax/bin/processor

ENV NUMBA_CACHE_DIR=/opt/kinewax/compiled
RUN sh deploy/image/compile /opt/kinewax


FROM ${BASE_IMAGE}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kinewax" \
      org.opencontainers.image.description="Event-time stream processing for Kinesis: windows, alerts and aggregates." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /opt/kinewax /opt/kinewax
RUN install -d -o 10001 -g 10001 -m 0750 /var/lib/kinewax

# The admin port is for probes and Prometheus: keep it from everybody else by a network policy.
ENV PATH=/opt/kinewax/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    KINEWAX_ADMIN__HOST=0.0.0.0 \
    KINEWAX_ADMIN__PORT=8080 \
    KINEWAX_RUNTIME__RECOVERY=/var/lib/kinewax
USER 10001:10001
WORKDIR /var/lib/kinewax
VOLUME /var/lib/kinewax
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["kinewax", "health"]
ENTRYPOINT ["entrypoint"]
CMD ["--help"]
