"""Schedules: ticks, what becomes of each, and the loop that starts what is due."""
