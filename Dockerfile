# syntax=docker/dockerfile:1
# A static binary on nothing: no shell, no package, nobody's user. Build: docker build -t scanbell .

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# `--target`, so that build scripts and macros are not linked statically too; whatever the machine's architecture is.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    set -eu; \
    target="$(rustc -vV | sed -n 's/^host: //p')"; \
    RUSTFLAGS="-Ctarget-feature=+crt-static" cargo build --locked --profile dist --bin scanbell --target "$target"; \
    mkdir -p /image/etc/ssl/certs /image/etc/scanbell /image/data /image/tmp; \
    cp "target/$target/dist/scanbell" /image/scanbell; \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/; \
    echo 'scanbell:x:65532:65532::/data:/sbin/nologin' > /image/etc/passwd; \
    echo 'scanbell:x:65532:' > /image/etc/group; \
    chown 65532:65532 /image/data; \
    chmod 1777 /image/tmp

FROM scratch
LABEL org.opencontainers.image.title="scanbell" \
      org.opencontainers.image.description="Rings when a scan is done: tells Slack, e-mail and webhooks, losing none." \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image/ /
USER 65532:65532
# The store is a file in the working directory unless [store] says otherwise; the configuration is looked for in
# /etc/scanbell/scanbell.toml. To be reached from outside, set `listen = "0.0.0.0:8642"` and a token there.
WORKDIR /data
VOLUME /data
EXPOSE 8642
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s CMD ["/scanbell", "healthcheck"]
ENTRYPOINT ["/scanbell"]
CMD ["run"]
