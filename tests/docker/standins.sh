#!/usr/bin/env bash
# Builds stand-ins for the images of the deployment that come from elsewhere, for a machine that can reach Debian and
# PyPI but no registry of images: Python, Redis and HAProxy as Debian ships them, and for Qdrant this project's local
# one, which speaks the same REST calls. Needs root, debootstrap and a Docker engine of 20.10 or newer. Then:
#
#   bash tests/docker/standins.sh base            Python, Redis and HAProxy
#   bash tests/docker/standins.sh services        the four services' images, on the stand-in for Python
#   bash tests/docker/standins.sh qdrant          the stand-in for Qdrant, from the search API's image
#   bash tests/docker/standins.sh all             the three of them
#   bash tests/docker/standins.sh remove          every image made here, and the build cache
#
# Authorities that this machine adds to those of Debian are copied into the images, for it may sit behind a proxy.
set -euo pipefail
cd "$(dirname "$0")/../.."
export DOCKER_BUILDKIT=1

PREFIX=vitrine-standin
SUITE=bookworm  # its Python is 3.11
TAG=${IMAGE_TAG:-0.1.0}

# Reads a Dockerfile from standard input; $2 is a folder of what it copies.
build() {
  local name=$1 context=$2
  shift 2
  docker build --quiet --network host --tag "$PREFIX/$name" --file - "$@" "$context"
}

base() {
  local folder
  folder=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$folder'" EXIT
  debootstrap --variant=minbase "$SUITE" "$folder/root" > "$folder/log" || { tail "$folder/log" >&2; return 1; }
  tar -C "$folder/root" --exclude=./dev --exclude=./var/cache/apt/archives/*.deb -c . | docker import - "$PREFIX/debian" > /dev/null
  mkdir -p "$folder/context/authorities"
  cp /usr/local/share/ca-certificates/*.crt "$folder/context/authorities/" 2> /dev/null || true
  build python "$folder/context" << 'DOCKERFILE'
FROM vitrine-standin/debian
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv && rm -rf /var/lib/apt/lists/*
COPY authorities/ /usr/local/share/ca-certificates/
RUN update-ca-certificates
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt
DOCKERFILE
  # The accounts have the numbers that those of the real images have.
  build redis "$folder/context" << 'DOCKERFILE'
FROM vitrine-standin/debian
RUN groupadd --gid 999 redis && useradd --system --uid 999 --gid 999 redis \
 && apt-get update && apt-get install --yes --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* \
 && install --directory --owner=999 --group=999 /data
WORKDIR /data
CMD ["redis-server"]
DOCKERFILE
  build haproxy "$folder/context" << 'DOCKERFILE'
FROM vitrine-standin/debian
RUN apt-get update && apt-get install --yes --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/* \
 && groupmod --gid 99 haproxy && usermod --uid 99 haproxy
USER haproxy
CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
DOCKERFILE
}

services() {
  local service
  for service in search-api indexer embedder trainer; do
    docker build --quiet --network host --file deploy/Dockerfile --tag "vitrine/$service:$TAG" \
      --build-arg "BASE_IMAGE=$PREFIX/python" --build-arg "SERVICE=$service" .
  done
}

qdrant() {
  # Its own requirements alone are added to the search API's image: the engine, with the lock's hashes.
  build qdrant . --build-arg "SERVICE_IMAGE=vitrine/search-api:$TAG" < tests/docker/qdrant.Dockerfile
}

remove() {
  local image
  for image in $(docker images --quiet --filter "reference=$PREFIX/*" --filter "reference=vitrine/*" | sort --unique); do
    docker rmi --force "$image" > /dev/null
  done
  docker builder prune --all --force > /dev/null
}

case "${1:-}" in
  base | services | qdrant | remove) "$1" ;;
  all) base && services && qdrant ;;
  *) sed -n '2,/^set/p' "$0" | grep '^#' >&2; exit 2 ;;
esac
