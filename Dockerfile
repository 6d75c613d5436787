# The image: the static program and the certificates of public authorities, nothing else. docs/DEPLOYMENT.md says how
# to run it. scripts/container.sh does what stands here without a container engine, and tries the result.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cp "$(scripts/build-static.sh)" /pulsar-proxy

FROM scratch
LABEL org.opencontainers.image.title="Pulsar Proxy" \
      org.opencontainers.image.description="A real-time message proxy: JSON messages in over HTTP, out over WebSocket" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /pulsar-proxy /pulsar-proxy
# Other addresses than loopback need credentials: without any the container ends and says so.
ENV PULSAR_HOST=0.0.0.0
EXPOSE 8080
STOPSIGNAL SIGTERM
USER 65532:65532
# Not /ready: an engine that replaces what is unhealthy would do so with all instances when Valkey is away.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["/pulsar-proxy", "healthcheck", "--live"]
ENTRYPOINT ["/pulsar-proxy"]
