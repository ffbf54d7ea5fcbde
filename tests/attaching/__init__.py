"""Tests of attaching."""
