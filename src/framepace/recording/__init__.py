"""Recording: rows, telemetry and the machine that a run was on."""
