# Sourced by the other scripts: makes a virtual environment and installs exactly what its lock says.
# Needs Python 3.11 or 3.12 with pip and venv, and a package index that pip or uv can reach.
# With pair=oldest it is .venv-oldest: the oldest torch and torchvision that pyproject.toml allows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

suffix=${pair:+-$pair}
venv=.venv$suffix lock=requirements$suffix.lock
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || {
    echo "rethink-ray needs Python 3.11 or 3.12; set PYTHON=/path/to/it" >&2
    exit 2
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

stamp=$(sha256sum "$lock" pyproject.toml | sha256sum | cut -c1-16)
if [ "$(cat "$venv/installed" 2>/dev/null || true)" != "$stamp" ]; then
    uv=$(PATH="$PWD/$venv/bin:$PWD/.venv/bin:$PATH" command -v uv || true)
    if [ -z "$uv" ]; then
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
        uv=$venv/bin/uv
    fi
    "$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" \
        --require-hashes -r "$lock"
    "$uv" pip install --quiet --python "$venv/bin/python" --no-deps -e .
    echo "$stamp" >"$venv/installed"
fi
# Where PYTHONDONTWRITEBYTECODE is set, every process would compile the package again: a third of a
# second in each command and each Ray worker.
"$venv/bin/python" -m compileall -q rethink_ray
export PATH="$PWD/$venv/bin:$PATH"
