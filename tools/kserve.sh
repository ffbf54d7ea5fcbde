#!/bin/sh
# Prints the Python of an environment with KServe's client, which wants older libraries than ours; makes it once.
set -eu

environment=$(sh "$(dirname "$0")/environment.sh" kserve kserve==0.21.0 "KServe's client")
echo "$environment/bin/python"
