"""The Open Inference Protocol (KServe v2) as bytes and messages: no server, no engine."""
