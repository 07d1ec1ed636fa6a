#!/usr/bin/env bash
# Lint, types and tests on a fresh machine. Arguments go to pytest: bash scripts/test.sh -m slow
source "$(dirname "$0")/setup.sh"

ruff check .
ruff format --check .
export OMP_NUM_THREADS=1
export PYTHONDONTWRITEBYTECODE= # else each run of pytest compiles all tests again
if [ $# -gt 0 ]; then
    mypy
    pytest "$@"
    exit
fi

# The tests with Ray mostly wait for processes to start and stop, so they run beside the others; these
# are nice, because a starved Ray cluster gives up. There is one cluster at a time: a second one on a
# host disturbs it.
log=$(mktemp)
failed=0
# only files that name the mark: importing all others takes 20 s of CPU
with_mark=$(grep -rl --include="test_*.py" "mark.ray" tests | sort)
# shellcheck disable=SC2086
pytest -m "ray and not slow" $with_mark >"$log" 2>&1 &
with_ray=$!
nice pytest -m "not slow and not ray" -n 2 --dist loadfile || failed=1
mypy || failed=1
wait "$with_ray" || failed=1
cat "$log"
rm "$log"
exit "$failed"
