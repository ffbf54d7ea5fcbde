"""Frozen records that every part of framepace shares: no I/O, no clock, no framework."""
