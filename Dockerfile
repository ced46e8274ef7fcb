# The web page, `dancetomusic app`, on a CPU. docs/container.md says how to build and run it.

FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY checkpoints checkpoints
COPY dancetomusic dancetomusic
RUN pip wheel --no-cache-dir --no-deps --wheel-dir wheels .

FROM python:3.11-slim-bookworm
# What OpenCV's wheel takes from the system. Debian keeps one version of each at a time.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
# An index with wheels of PyTorch for the CPU alone; without it they may bring CUDA along.
ARG PIP_EXTRA_INDEX_URL
COPY requirements.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt
COPY --from=wheel /source/wheels wheels
RUN set -- wheels/*.whl \
    && pip install --no-cache-dir --constraint requirements.txt "$1[app]"
RUN useradd --create-home --uid 10001 dancer
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# Visitors need the secret in $DANCETOMUSIC_TOKEN; without one the command refuses to start.
CMD ["dancetomusic", "app", "--host", "0.0.0.0", "--port", "8000"]
