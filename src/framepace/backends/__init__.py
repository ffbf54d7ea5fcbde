"""Backends: how a model is loaded and run by a library."""
