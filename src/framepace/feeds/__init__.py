"""Feeds: which frame goes next, with which others, and when."""
