# syntax=docker/dockerfile:1

FROM golang:1.26-bookworm AS build
ARG GOPROXY
ARG GOFLAGS
WORKDIR /src
# The modules have a layer of their own: it is built again only when they change.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
ARG COMMIT
ARG DATE
RUN CGO_ENABLED=0 go build -trimpath -tags nomsgpack -o /mergegate -ldflags "-s -w \
    -X mergegate/internal/app.Version=${VERSION} -X mergegate/internal/app.commit=${COMMIT} -X mergegate/internal/app.date=${DATE}" \
    ./cmd/mergegate

# Neither a shell nor a PostgreSQL is in here: the image needs DATABASE_URL.
FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=unknown
ARG COMMIT
LABEL org.opencontainers.image.title="mergegate" \
      org.opencontainers.image.description="Gives Bitbucket Cloud pull requests the answer of AppVeyor's pull request builds" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /mergegate /mergegate
ENV MERGEGATE_LISTEN=:8080 MERGEGATE_ADMIN_LISTEN=:9090
EXPOSE 8080 9090
USER nonroot
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/mergegate", "healthcheck"]
ENTRYPOINT ["/mergegate"]
CMD ["serve"]
