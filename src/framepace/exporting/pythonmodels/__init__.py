"""Models for Triton's python backend, copied into exported repositories as they are; nothing here imports framepace."""
