"""Trials in a user's own program: with and without a setting, in whole runs of it or in blocks of one run."""
