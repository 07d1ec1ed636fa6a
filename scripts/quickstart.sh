#!/usr/bin/env bash
# From nothing to a result that means something: installs, runs the quickstart study on this
# machine, writes its report, trains the best configuration once more on two Ray Train workers, and
# says what to train with.
source "$(dirname "$0")/setup.sh"

out=studies/quickstart
rethink-ray run quickstart --out "$out"
rethink-ray report "$out"
rethink-ray export "$out" --out "$out/best"
rethink-ray train "$out/best/full-pretrained-6x.yaml" --workers 2 --out "$out/train"
rethink-ray answer "$out"
