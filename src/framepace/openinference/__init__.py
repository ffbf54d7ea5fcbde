"""The Open Inference Protocol (KServe v2) as bytes and messages: no server, no engine."""

from __future__ import annotations

import os

# gRPC reads it when it is first used. Else each client that breaks off writes to standard error. Not where framepace as
# a whole is imported: a program that uses it may have a gRPC of its own.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
