#!/usr/bin/env bash
# Lint, types and tests on a fresh machine. Arguments go to pytest: bash scripts/test.sh -m slow
source "$(dirname "$0")/setup.sh"

ruff check .
ruff format --check .
mypy
export OMP_NUM_THREADS=1
if [ $# -eq 0 ]; then
    pytest -m "not slow and not ray" -n 2 --dist loadfile
    pytest -m "ray and not slow" # one Ray cluster at a time: a second one on a host disturbs it
else
    pytest "$@"
fi
