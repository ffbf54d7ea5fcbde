"""Tuning: what a plan will do, predicted from a few measured primitives."""
