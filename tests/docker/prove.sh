#!/usr/bin/env bash
# Proves the deployment on this machine with the stand-ins of standins.sh, which have to be built. Starts it beside any
# other as the project `vitrine-proof`, uses it as its users would, kills parts of it, and removes it again with all its
# data. Needs Docker with the compose plugin, curl, openssl, and .venv (`make setup`). Takes about four minutes.
set -euo pipefail  # so no `grep -q` at the end of a pipe: it leaves early, and who writes to it fails
cd "$(dirname "$0")/../.."

FOLDER=$(mktemp -d)
PORT=${PORT:-18000}
export VITRINE_URL=http://127.0.0.1:$PORT
VITRINE_API_KEY=$(openssl rand -hex 32)
export VITRINE_API_KEY
PICTURES=$FOLDER/catalogs/shop/images

compose() {
  docker compose --project-name vitrine-proof --file deploy/docker-compose.yml \
    --file tests/docker/docker-compose.standins.yml --env-file "$FOLDER/.env" --progress quiet "$@"
}
up() { compose up --no-build --detach --wait "$@"; }
vitrine() { .venv/bin/vitrine "$@" 2>&1; }
say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
fail() { say "FAILED: $*"; exit 1; }

clean() {
  compose --profile cpu down --volumes --timeout 10 || true
  rm -rf "$FOLDER"
}
trap clean EXIT

crash() {
  docker kill --signal KILL "vitrine-proof-$1-1" > /dev/null
  docker start "vitrine-proof-$1-1" > /dev/null
}

finds_itself() {
  vitrine search "$PICTURES/10001.jpg" --model resnet10t --dataset shop --k 1 > "$FOLDER/found" &&
    grep --extended-regexp '^ +1 +10001 ' "$FOLDER/found" > /dev/null
}

# A search by each picture of the shop, four at a time; prints how many answers had which status.
search_all() {
  find "$PICTURES" -name '*.jpg' | head -n "$1" | xargs -P 4 -I{} curl --silent --output /dev/null \
    --write-out '%{http_code}\n' --header "X-API-Key: $VITRINE_API_KEY" --form image=@{} --form model=resnet10t \
    --form dataset=shop "$VITRINE_URL/api/search" | sort | uniq --count | awk '{printf "%s times %s ", $1, $2}'
}

# Name and number of requests of each embedder that the balancer has.
embedder_requests() {
  compose exec -T balancer bash -c \
    'exec 3<>/dev/tcp/127.0.0.1/8404; printf "GET /stats;csv HTTP/1.0\r\n\r\n" >&3; cat <&3' |
    awk -F, '$1 == "embedders" && $2 != "BACKEND" && $18 == "UP" {print $2, $8}'
}

mkdir "$FOLDER/catalogs" "$FOLDER/weights"
chmod 755 "$FOLDER" "$FOLDER/catalogs"
HASH=$(printf %s "$VITRINE_API_KEY" | sha256sum | cut -d' ' -f1)
sed -e "s|^REDIS_PASSWORD=.*|&$(openssl rand -hex 32)|" -e "s|^QDRANT_API_KEY=.*|&$(openssl rand -hex 32)|" \
  -e "s|^EMBEDDER_API_KEY=.*|&$(openssl rand -hex 32)|" \
  -e "s|^VITRINE_API_KEYS=.*|&proof:admin:$HASH|" -e "s|^CATALOGS_DIR=.*|&$FOLDER/catalogs|" \
  -e "s|^#WEIGHTS_DIR=.*|WEIGHTS_DIR=$FOLDER/weights|" -e "s|^#PUBLISH_PORT=.*|PUBLISH_PORT=$PORT|" \
  deploy/.env.example > "$FOLDER/.env"
vitrine catalog generate "$FOLDER/catalogs/shop" --count 300 --seed 1 > /dev/null
vitrine catalog generate "$FOLDER/catalogs/more" --count 900 --seed 2 > /dev/null

say "starting"
up
say "every part is healthy"

[ "$(curl --silent --output /dev/null --write-out '%{http_code}' "$VITRINE_URL/api/models")" = 401 ] ||
  fail "the search API answers without a key"
compose exec -T redis sh -c 'unset REDISCLI_AUTH; redis-cli ping' | grep NOAUTH > /dev/null || fail "Redis answers without a password"
compose exec -T embedder python -c 'import socket; socket.create_connection(("1.1.1.1", 443), 3)' 2> /dev/null &&
  fail "an embedder reaches the outside"
say "no key, no password, no way out: refused"

vitrine release create --model timm:resnet10t --weights seed:0 --dataset shop --reader synthetic --root /catalogs/shop \
  --components 64 | tail -n 1
vitrine index --model resnet10t --dataset shop --reader synthetic --root /catalogs/shop | tail -n 1
finds_itself || fail "a product does not find itself: $(cat "$FOLDER/found")"
say "released, indexed, searched"

up --scale embedder=2
say "two embedders: $(search_all 300)"
embedder_requests
[ "$(embedder_requests | awk '$2 > 50' | wc --lines)" = 2 ] || fail "the load is not spread"

search_all 300 > "$FOLDER/answers" &
compose up --no-build --detach --scale embedder=1
wait $!
say "one embedder leaves under load: $(cat "$FOLDER/answers")"
[ "$(awk '{print $1, $3, NF}' "$FOLDER/answers")" = "300 200 3" ] || fail "searches were lost"

vitrine index --model resnet10t --dataset more --reader synthetic --root /catalogs/more > "$FOLDER/index" &
JOB=$!
until grep -q 'indexing: [1-9]' "$FOLDER/index"; do sleep 0.5; done
for part in redis indexer qdrant; do
  say "killing $part"
  crash "$part"
  sleep 5
done
wait $JOB || fail "$(tail -n 3 "$FOLDER/index")"
say "$(tail -n 1 "$FOLDER/index")"
grep -q '900 pictures done, 0 failed' "$FOLDER/index" || fail "pictures were lost"

compose down
up
finds_itself || fail "what was indexed is gone after a restart: $(cat "$FOLDER/found")"
say "stopped, started, still there"
