"""Prewarming on production traces: our policy beside published ones."""
