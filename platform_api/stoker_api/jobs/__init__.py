"""Durable invocations: on disk before they are accepted, run until they end, kept until their results expire."""
