"""Replays traces through the code that decides in production, under a virtual clock."""
