# Clearcut in a container, for CPUs (x86-64 and ARM):
#
#   docker build -t clearcut:cpu .
#   docker run --rm -p 127.0.0.1:8080:8080 -e CLEARCUT_ALLOW_ANONYMOUS=true clearcut:cpu
#
# Dockerfile.cuda is the same for NVIDIA GPUs. Only the defaults of the four ARGs below differ; a test compares both files.
#
# A tag can change. For a reproducible build also pass the digest, as printed by
# `docker buildx imagetools inspect debian:bookworm-slim`: --build-arg DIGEST=@sha256:…
# IMAGE can be any Debian or Ubuntu with Python 3.11 or newer.
ARG IMAGE=debian:bookworm-slim
ARG DIGEST=
ARG DEVICE=cpu
ARG REQUIREMENTS=deploy/requirements-cpu.txt

FROM ${IMAGE}${DIGEST} AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The distribution's Python without a pinned version, so that every build has its security fixes.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 ca-certificates \
 && rm -rf /var/lib/apt/lists/*

# --- build stage -----------------------------------------------------------------------------------------------------
FROM base AS build
ARG REQUIREMENTS
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
# pip has its own environment, so that the final environment contains no installer.
RUN python3 -m venv /opt/install && python3 -m venv --without-pip /opt/clearcut
COPY ${REQUIREMENTS} /opt/install/requirements.txt
RUN /opt/install/bin/pip --python /opt/clearcut/bin/python install --no-cache-dir --disable-pip-version-check \
      --only-binary :all: --require-hashes -r /opt/install/requirements.txt
COPY app /srv/clearcut/app
# The libraries are optional and save CPU time. Bytecode is compiled now, because a read-only file system cannot store it.
RUN for source in formats/png_file/rows.c matting/edge_pixels.c matting/grid_cells.c compiled/measures.c; do \
      source=/srv/clearcut/app/clearcut/imaging/$source; \
      gcc -O3 -fno-trapping-math -shared -fPIC -o "${source%.c}.so" "$source" || exit 1; done \
 && python3 -m compileall -q /srv/clearcut/app

# --- final stage -----------------------------------------------------------------------------------------------------
FROM base
ARG DEVICE
LABEL org.opencontainers.image.title="Clearcut" \
      org.opencontainers.image.description="Self-hosted background removal over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/clearcut /opt/clearcut
COPY models/manifest.toml models/clearcut-m.onnx models/clearcut-m.fp16.onnx models/clearcut-m.int8.onnx \
     models/clearcut-s.onnx models/clearcut-s.fp16.onnx models/clearcut-s.int8.onnx models/clearcut-edges.onnx \
     /srv/clearcut/models/
COPY NOTICE /srv/clearcut/
COPY --from=build /srv/clearcut/app /srv/clearcut/app
# Job data and a database file go to /data: mount a volume there. Everything else may be read-only.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /data
WORKDIR /srv/clearcut
# The device is explicit, so that a GPU image without a GPU fails instead of running slowly on the CPU. The service
# configures glibc's allocator itself (app/clearcut/system.py). It refuses a public address without keys
# (CLEARCUT_DATABASE_URL) or CLEARCUT_ALLOW_ANONYMOUS=true.
ENV CLEARCUT_DEVICE=${DEVICE} \
    CLEARCUT_HOST=0.0.0.0 \
    CLEARCUT_PORT=8080 \
    CLEARCUT_DATA_DIR=/data \
    HOME=/data \
    PATH=/opt/clearcut/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/srv/clearcut/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080
# A stop takes up to CLEARCUT_DRAIN_DELAY_S + CLEARCUT_DRAIN_TIMEOUT_S: `docker stop --time 75`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["/opt/clearcut/bin/python", "-m", "clearcut", "health"]
ENTRYPOINT ["/opt/clearcut/bin/python", "-m", "clearcut"]
CMD ["serve"]
