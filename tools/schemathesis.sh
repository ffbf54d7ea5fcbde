#!/bin/sh
# Prints the program schemathesis in an environment of its own; makes it once. FRAMEPACE_SCHEMATHESIS names another one.
set -eu

if [ -n "${FRAMEPACE_SCHEMATHESIS:-}" ]; then
    echo "$FRAMEPACE_SCHEMATHESIS"
    exit 0
fi
environment=${XDG_CACHE_HOME:-$HOME/.cache}/framepace-schemathesis
if [ ! -e "$environment/done" ]; then
    rm -rf "$environment"
    python3 -m venv "$environment"
    if ! "$environment/bin/pip" --quiet --disable-pip-version-check install schemathesis==4.32.5 >&2; then
        echo "schemathesis could not be installed here: give this machine a package index" >&2
        exit 1
    fi
    touch "$environment/done"
fi
echo "$environment/bin/schemathesis"
