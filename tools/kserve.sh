#!/bin/sh
# Prints the Python of an environment with KServe's client, which wants older libraries than ours; makes it once.
set -eu

environment=${XDG_CACHE_HOME:-$HOME/.cache}/framepace-kserve
if [ ! -e "$environment/done" ]; then
    rm -rf "$environment"
    python3 -m venv "$environment"
    if ! "$environment/bin/pip" --quiet --disable-pip-version-check install kserve==0.21.0 >&2; then
        echo "KServe's client could not be installed here: give this machine a package index" >&2
        exit 1
    fi
    touch "$environment/done"
fi
echo "$environment/bin/python"
