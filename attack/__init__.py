"""Attacks on framepace: damaged inputs, kills and faults. `python -m attack --seed 1`, or `make attack SEED=1`."""
