"""Measuring: loads, stop rules, telemetry, the machine, and the session that ties them to the pipeline."""
