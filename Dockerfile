# The server in a small image. CPU by default:
#
#   docker build -t bayes .
#   docker run --read-only -p 8000:8000 -v ./checkpoints/NAME:/models:ro -e BAYES_MODEL=/models/model \
#       -v jobs:/data bayes
#
# With CUDA, for cards from the A100 on (docs/gpu.md); it starts without one, on the CPU:
#
#   docker build -t bayes:cuda --build-arg DEVICE=cuda .
#   docker run --gpus all --read-only -p 8000:8000 -v ./checkpoints/NAME:/models:ro -e BAYES_MODEL=/models/model \
#       -v jobs:/data bayes:cuda
#
# Give it more time to stop than --shutdown-delay and --drain-timeout together (`docker stop -t`,
# `terminationGracePeriodSeconds`).
ARG DEVICE=cpu

FROM rust:1-bookworm AS build-cpu
ENV FEATURES=""

FROM nvidia/cuda:12.6.3-devel-ubuntu22.04 AS build-cuda
COPY --from=build-cpu /usr/local/cargo /usr/local/cargo
COPY --from=build-cpu /usr/local/rustup /usr/local/rustup
# What is compiled for 8.0 runs on newer cards too; 9.0 would become `sm_90a`, which no other card runs.
ENV FEATURES=cuda CUDA_COMPUTE_CAP=80 NVCC=/source/tests/cuda/nvcc-needed CARGO_HOME=/usr/local/cargo \
    RUSTUP_HOME=/usr/local/rustup PATH=/usr/local/cargo/bin:${PATH}

# hadolint ignore=DL3006
FROM build-${DEVICE} AS build
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY configs configs
COPY tests/cuda tests/cuda
RUN cargo build --release --locked --features "${FEATURES}"

FROM debian:bookworm-slim AS run-cpu
# For cuBLAS, which is opened when there is a card. The driver keeps the kernels that it has translated.
FROM nvidia/cuda:12.6.3-runtime-ubuntu22.04 AS run-cuda
ENV CUDA_CACHE_PATH=/data/cuda

# hadolint ignore=DL3006
FROM run-${DEVICE}
RUN useradd --create-home --uid 10001 bayes \
    && mkdir /data \
    && chown bayes /data
COPY --from=build /source/target/release/bayes /usr/local/bin/bayes
COPY LICENSE-MIT LICENSE-APACHE THIRD_PARTY.md /usr/share/doc/bayes/
ENV BAYES_HOST=0.0.0.0 BAYES_PORT=8000 BAYES_MODEL=/model BAYES_JOBS_PATH=/data/jobs.redb BAYES_FEEDBACK_PATH=/data/feedback \
    BAYES_LOG_FORMAT=json
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["bayes", "serve", "--health"]
ENTRYPOINT ["bayes"]
CMD ["serve"]
