#!/bin/sh
# Makes the agent's Python environment, or brings it up to date. pip stays outside: with its companions it would be a
# sixth of what a device stores.
set -eu

if [ $# -ne 3 ]; then
    echo "error: three arguments are needed" >&2
    echo "hint: sh environment.sh FOLDER PACKAGE onnx|litert|tflite|none" >&2
    exit 2
fi
home=$1 package=$2 runtime=$3
[ "$runtime" = none ] || package="${package}[$runtime]"

builder=$(mktemp -d)
trap 'rm -rf "$builder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$builder"
# The first that can fill another environment; Ubuntu 22.04, and so JetPack 6, comes with an older one.
"$builder/bin/python" -m pip install --quiet --disable-pip-version-check 'pip>=22.3'

if [ ! -x "$home/bin/python" ]; then
    if [ "$runtime" = tflite ]; then
        # It needs numpy 1, which for 32-bit boards only the distribution builds.
        python3 -m venv --without-pip --system-site-packages "$home"
    else
        python3 -m venv --without-pip "$home"
    fi
fi
"$builder/bin/python" -m pip --disable-pip-version-check --python "$home/bin/python" install --quiet --upgrade "$package"
# numpy brings its own tests along: 17 MB that no device runs.
for numpy in "$home"/lib/python3*/site-packages/numpy; do
    [ ! -d "$numpy" ] || find "$numpy" -type d -name tests -prune -exec rm -rf {} +
done
