# syntax=docker/dockerfile:1

# What browsers of other devices run (`devices link`). Its version and hash are pinned in the code,
# which checks the package again when it is installed below.
FROM node:22-slim AS web-runtime
WORKDIR /package
COPY service/links/onnxruntime-web.json .
RUN npm pack "onnxruntime-web@$(node -p "require('./onnxruntime-web.json').version")"

# The guide, which the service serves at /docs/guide.
FROM python:3.11-slim AS guide
WORKDIR /app
COPY constraints.txt zensical.toml ./
COPY docs docs
RUN pip install --no-cache-dir --constraint constraints.txt zensical && zensical build --strict

FROM python:3.11-slim

# On x86-64 the package index serves torch as its CUDA build, gigabytes larger than a search
# needs. For the CPU build give the index that holds it:
#   docker build --build-arg TORCH_INDEX_URL=<index of CPU builds> -t subnet-search .
# Left empty, the default index is used, and the image can train on a GPU.
ARG TORCH_INDEX_URL=""

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1

WORKDIR /app

# Step one, kept until a dependency changes: what the project needs.
COPY pyproject.toml constraints.txt ./
RUN if [ -n "$TORCH_INDEX_URL" ]; then \
        pip install --no-deps --index-url "$TORCH_INDEX_URL" --constraint constraints.txt torch; \
    fi \
    && python -c "import tomllib; \
        project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*project['dependencies'], sep='\n')" > /tmp/dependencies.txt \
    && pip install --constraint constraints.txt hatchling --requirement /tmp/dependencies.txt

# Step two, the code, installed from its wheel.
COPY LICENSE README.md ./
COPY subnet_search subnet_search
COPY wheels wheels
COPY models models
COPY latency_tables latency_tables
COPY search search
COPY service service
COPY --from=guide /app/service/guide service/guide
RUN pip install --no-deps --no-build-isolation --compile . \
    && rm -rf /app/* \
    && groupadd --gid 10001 subnet \
    && useradd --uid 10001 --gid subnet --home-dir /data --no-create-home subnet \
    && install --directory --owner=subnet --group=subnet /data
RUN --mount=type=bind,from=web-runtime,source=/package,target=/package \
    SUBNET_HOME=/opt/subnet-search subnet-search runtimes install onnxruntime-web \
        --from /package/onnxruntime-web-*.tgz

# Beside the volume, which would hide it.
ENV SUBNET_RUNTIMES=/opt/subnet-search/runtimes

# Commands write where they are started: `docker run -v "$PWD:/data"` brings files in and out.
ENV SUBNET_HOME=/data
WORKDIR /data
VOLUME /data
# A number, since Kubernetes cannot tell from a name that it is not root (`runAsNonRoot`).
USER 10001:10001
EXPOSE 8000

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]

CMD ["subnet-search", "serve", "--host", "0.0.0.0", "--port", "8000"]

# Last, since they change with every commit. Which source this is, the builder says:
#   --build-arg REVISION="$(git rev-parse HEAD)" --build-arg CREATED="$(date -u +%FT%TZ)"
ARG REVISION="" CREATED=""
LABEL org.opencontainers.image.title="Subnet Search" \
      org.opencontainers.image.description="Hardware-aware subnet search over Once-for-All supernets" \
      org.opencontainers.image.version="1.0.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.authors="the Subnet Search authors" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
