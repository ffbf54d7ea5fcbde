#!/bin/sh
# Prints the program schemathesis in an environment of its own; makes it once. FRAMEPACE_SCHEMATHESIS names another one.
set -eu

if [ -n "${FRAMEPACE_SCHEMATHESIS:-}" ]; then
    echo "$FRAMEPACE_SCHEMATHESIS"
    exit 0
fi
environment=$(sh "$(dirname "$0")/environment.sh" schemathesis schemathesis==4.32.5 schemathesis)
echo "$environment/bin/schemathesis"
