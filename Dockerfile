# One image per controller: docker build --build-arg CONTROLLER=source-controller -t sluice/source-controller .
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /sluice
COPY . .
ARG CONTROLLER=source-controller
RUN hack/dist "$CONTROLLER" /image/controller \
 && install -d -m 1777 /image/tmp \
 && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt

FROM scratch
ARG CONTROLLER=source-controller
LABEL org.opencontainers.image.title="$CONTROLLER" \
      org.opencontainers.image.description="Sluice: GitOps for Kubernetes, event-driven and compatible with Flux" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
USER 65534:65534
ENTRYPOINT ["/controller"]
