# The program in a small image, for one that is not root. Build: docker build -t ddb-iceberg .
# Nothing secret is needed to build it, and nothing is kept in it: give credentials when you run it.
# Images are named by digest, so that nobody can put others in their place. Newer ones: docker buildx imagetools inspect debian:bookworm-slim
FROM rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS build
RUN apt-get update && apt-get install --yes --no-install-recommends make
WORKDIR /build
# rust-toolchain.toml stays out: it would fetch components that building does not take. A test holds the versions together.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src src
# The manifest names no example or test, so neither is needed here; it names a benchmark, which has to be there and is not built.
COPY benches/stages.rs benches/stages.rs
RUN cargo build --release --locked --bin ddb-iceberg

FROM debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home --home-dir /home/ddb-iceberg --shell /usr/sbin/nologin ddb-iceberg
COPY --from=build /build/target/release/ddb-iceberg /usr/local/bin/ddb-iceberg
COPY LICENSE /usr/share/doc/ddb-iceberg/LICENSE
USER 10001
WORKDIR /home/ddb-iceberg
ENTRYPOINT ["ddb-iceberg"]
