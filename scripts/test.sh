#!/usr/bin/env bash
# Lint, types and tests on a fresh machine. Arguments go to pytest: bash scripts/test.sh -m slow
# With --oldest first: the tests alone, on the oldest torch and torchvision that pyproject.toml allows
# (requirements-oldest.lock, .venv-oldest; 6 GB): bash scripts/test.sh --oldest
pair=
if [ "${1:-}" = --oldest ]; then
    pair=oldest
    shift
fi
source "$(dirname "$0")/setup.sh"

run_types() {
    [ -n "$pair" ] || nice mypy # types are those of the newest pair
}

if [ -z "$pair" ]; then
    ruff check .
    ruff format --check .
fi
export OMP_NUM_THREADS=1
export PYTHONDONTWRITEBYTECODE= # else each run of pytest compiles all tests again
if [ $# -gt 0 ]; then
    run_types
    pytest "$@"
    exit
fi

# The tests with Ray mostly wait for processes to start and stop, so they run beside the others, and
# types are checked after them; the others are nice, because a starved Ray cluster gives up. There is
# one cluster at a time: a second one on a host disturbs it.
# Only files that name the mark are given: importing all others takes 20 s of CPU.
test_ray_and_types() {
    local failed=0
    grep -rlZ --include="test_*.py" "mark.ray" tests | sort -z |
        xargs -0 pytest -m "ray and not slow" || failed=1
    run_types || failed=1
    return "$failed"
}

log=$(mktemp)
failed=0
test_ray_and_types >"$log" 2>&1 &
beside=$!
nice pytest -m "not slow and not ray" -n 3 --dist loadfile || failed=1
wait "$beside" || failed=1
cat "$log"
rm "$log"
exit "$failed"
