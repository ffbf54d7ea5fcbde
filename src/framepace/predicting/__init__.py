"""Prediction: plans that were not run, from primitives that were measured."""
