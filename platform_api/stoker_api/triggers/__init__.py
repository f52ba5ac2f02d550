"""Triggers: messages and events that start functions."""
