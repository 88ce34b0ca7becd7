FROM rust:1-slim-bookworm AS build
WORKDIR /src
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cargo build --release --bin towpath

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends bash ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /srv --uid 10001 towpath \
    && mkdir -p /srv/warehouse /var/lib/towpath \
    && chown towpath /srv/warehouse /var/lib/towpath
COPY --from=build /src/target/release/towpath /usr/local/bin/towpath
USER towpath
WORKDIR /srv
EXPOSE 8080
ENTRYPOINT ["towpath"]
CMD ["up", "--listen", "0.0.0.0:8080"]
