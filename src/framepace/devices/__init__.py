"""GPUs: what is asked of one, and CUDA and NVML behind it."""
