#!/bin/sh
# The health check of a container. It also ends a container that has hung, so that its restart policy starts it again:
# Docker itself only marks it as unhealthy.
#
#   healthcheck.sh CHECK [ARGUMENT...]
#
# CHECK exits with 0 if the service is healthy, 2 if it shows no sign of life, and another status if it is not ready. No
# answer within HEALTHCHECK_TIMEOUT_S counts as no sign of life. After HEALTHCHECK_LIMIT of these in a row every process
# of the container is killed. This needs `init: true`, and happens only after the service was healthy once, so that a slow
# start is not interrupted.
state=${HEALTHCHECK_STATE:-/dev/shm/vitrine-health}
limit=${HEALTHCHECK_LIMIT:-4}

timeout -s KILL "${HEALTHCHECK_TIMEOUT_S:-8}" "$@"
case $? in
  0)
    echo 0 > "$state"
    exit 0
    ;;
  2 | 124 | 137) ;;
  *)
    [ ! -e "$state" ] || echo 0 > "$state"
    exit 1
    ;;
esac

[ -e "$state" ] || exit 1
silent=$(($(cat "$state") + 1))
echo "$silent" > "$state"
echo "no sign of life, $silent of $limit times in a row" >&2
# Outside a container with its own init this would kill other processes.
if [ "$silent" -ge "$limit" ] && [ "$(cat /proc/1/comm)" = docker-init ]; then
  echo "the service has hung: ending the container" >&2
  kill -KILL -1
fi
exit 1
