"""Explaining: hypotheses, their interventions, and the loop that tries them."""
