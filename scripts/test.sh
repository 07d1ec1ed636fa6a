#!/usr/bin/env bash
# Lint, types and tests on a fresh machine. Arguments go to pytest: bash scripts/test.sh -m slow
source "$(dirname "$0")/setup.sh"

ruff check .
ruff format --check .
export OMP_NUM_THREADS=1
export PYTHONDONTWRITEBYTECODE= # else each run of pytest compiles all tests again
if [ $# -eq 0 ]; then
    pytest -m "not slow and not ray" -n 2 --dist loadfile
    mypy & # beside the tests with Ray, which mostly wait for processes to start and stop
    pytest -m "ray and not slow" # one Ray cluster at a time: a second one on a host disturbs it
    wait $!
else
    mypy
    pytest "$@"
fi
