#!/bin/sh
# Prints the folder of an environment with a package that wants other libraries than ours; makes it once:
# `environment.sh NAME PACKAGE==VERSION WHAT`, where WHAT names it for people.
set -eu

environment=${XDG_CACHE_HOME:-$HOME/.cache}/framepace-$1
if [ ! -e "$environment/done" ]; then
    rm -rf "$environment"
    python3 -m venv "$environment"
    if ! "$environment/bin/pip" --quiet --disable-pip-version-check install "$2" >&2; then
        echo "$3 could not be installed here: give this machine a package index" >&2
        exit 1
    fi
    touch "$environment/done"
fi
echo "$environment"
