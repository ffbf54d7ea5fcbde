"""Logs that somebody else wrote, one row per frame or request: read, understood, and turned into traces."""
