"""Analysis of traces: pure functions of numbers; no device, no clock, no files."""
