"""GPUs: the protocol that framepace needs, and CUDA and NVML behind it."""
