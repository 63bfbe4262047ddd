# The `lineage` command. Build: docker build -t lineage:0.1.0 .
FROM python:3.11-slim-bookworm

# torch alone decides the size: pip's usual build brings CUDA along. For the much smaller build for the CPU, which is enough for the
# nightly run, name the index of torch's CPU builds: --build-arg TORCH_INDEX=ADDRESS
ARG TORCH_INDEX=""

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

RUN useradd --create-home --uid 10001 lineage \
    && install --directory --owner=lineage --group=lineage /data

RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.8,<3"

COPY pyproject.toml README.md LICENSE /src/
COPY lineage /src/lineage
COPY crawler /src/crawler
COPY detect /src/detect
COPY graphdb /src/graphdb
COPY queries /src/queries
RUN pip install "/src[s3]" && rm -rf /src

USER 10001:10001
WORKDIR /data
VOLUME /data
ENV LINEAGE_STORE=/data/store
ENTRYPOINT ["lineage"]
CMD ["--help"]
