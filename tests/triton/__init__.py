"""Against a real Triton 2.51 on this machine, where it can be had (tools/triton.sh)."""
