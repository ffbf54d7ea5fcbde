"""The engine: the only code that runs models."""
