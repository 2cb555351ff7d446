#!/bin/sh
# A container's health check that also ends a container which hangs, so that its restart policy starts it again: Docker
# itself only marks it unhealthy.
#
#   healthcheck.sh CHECK [ARGUMENT...]
#
# CHECK exits 0 where the service is healthy, 2 where it gives no sign of life, and anything else where it answers that it
# is not ready. No answer within HEALTHCHECK_TIMEOUT_S counts as no sign of life. After HEALTHCHECK_LIMIT of those in a
# row every process of the container is killed. That needs `init: true`, and a service that was healthy once: one that
# starts slowly is left alone.
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
# Anywhere but in a container with an init of its own this would reach processes of others.
if [ "$silent" -ge "$limit" ] && [ "$(cat /proc/1/comm)" = docker-init ]; then
  echo "it hangs: ending the container" >&2
  kill -KILL -1
fi
exit 1
