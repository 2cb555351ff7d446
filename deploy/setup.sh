#!/usr/bin/env bash
# Make .venv from requirements.lock and the members in editable form. Needs a Python 3.11 or 3.12 with pip, nothing else.
set -euo pipefail

python=""
for candidate in "${PYTHON:-}" python3.12 python3.11 python3 python; do
  [ -n "$candidate" ] || continue
  # A version manager's shim can be on the PATH and still refuse to run, so each candidate is tried, not only looked for.
  if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' >/dev/null 2>&1; then
    python=$(command -v "$candidate")
    break
  fi
done
if [ -z "$python" ]; then
  echo "setup: Vitrine needs Python 3.11 or 3.12 on the PATH (or named by PYTHON=...); found: $(python3 --version 2>&1 || true)" >&2
  exit 1
fi

# uv goes into a folder of its own: that works where the system's Python refuses packages and where venv is missing.
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  uv=.uv/bin/uv
  [ -x "$uv" ] || "$python" -m pip install --quiet --disable-pip-version-check --target .uv uv
fi

echo "setup: $("$python" --version), $("$uv" --version)" >&2
[ -x .venv/bin/python ] || "$uv" venv --quiet --python "$python" .venv
# Compiled once here, all cores at work: a service that compiles torch as it starts takes four times as long, and does so
# at every start where PYTHONDONTWRITEBYTECODE is set.
"$uv" pip install --quiet --python .venv/bin/python --require-hashes --requirements requirements.lock --compile-bytecode
editables=()
for member in "$@"; do editables+=(--editable "$member"); done
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation "${editables[@]}"
echo "setup: done" >&2
