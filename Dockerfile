# The command-line tool in a small image; CPU only.
FROM rust:1-bookworm AS build
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY configs configs
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN useradd --create-home --uid 10001 bayes
COPY --from=build /source/target/release/bayes /usr/local/bin/bayes
USER bayes
WORKDIR /home/bayes
ENTRYPOINT ["bayes"]
