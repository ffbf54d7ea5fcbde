"""Models that a KServe v2 server runs: framepace's own, Triton, KServe, MLServer and others."""
