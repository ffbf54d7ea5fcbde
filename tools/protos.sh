#!/bin/sh
# Makes src/framepace/openinference/inference.desc of the .proto files beside it, with protoc in an environment of its own.
# A descriptor set holds no code, so that any protobuf from 5 on loads it; generated Python code is bound to one version.
set -eu

cd "$(dirname "$0")/../src/framepace/openinference"
environment=${XDG_CACHE_HOME:-$HOME/.cache}/framepace-protoc
if [ ! -x "$environment/bin/python" ]; then
    python3 -m venv "$environment"
    "$environment/bin/pip" --quiet install grpcio-tools==1.71.0
fi
"$environment/bin/python" -m grpc_tools.protoc -I. --descriptor_set_out=inference.desc inference.proto health.proto
