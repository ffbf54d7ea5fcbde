"""Touches devices, video and time: backends, sources, preparation, and the one pipeline."""
