"""Batch runs: a function mapped over a data set, checkpointed by item."""
