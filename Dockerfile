# syntax=docker/dockerfile:1

FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY requirements/ requirements/
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
 && python -m venv /opt/checklist-exporter \
 && /opt/checklist-exporter/bin/pip install --no-cache-dir --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY collectors/ collectors/
COPY exporter/ exporter/
RUN /opt/build/bin/python -m hatchling build --target wheel \
 && /opt/checklist-exporter/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM python:3.13-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="checklist-exporter" \
      org.opencontainers.image.description="Keeps verifying a production readiness checklist against the live environment, for Prometheus." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# ssh-keygen verifies the signatures of evidence; it refuses to work for a user without a name.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 65532 checklist-exporter \
 && useradd --uid 65532 --gid 65532 --home-dir /var/lib/checklist-exporter --shell /usr/sbin/nologin checklist-exporter \
 && install -d -o 65532 -g 65532 /var/lib/checklist-exporter
COPY --from=build /opt/checklist-exporter /opt/checklist-exporter
ENV PATH="/opt/checklist-exporter/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /var/lib/checklist-exporter
USER 65532:65532
EXPOSE 9876
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["checklist-exporter", "healthcheck"]
ENTRYPOINT ["checklist-exporter", "serve"]
