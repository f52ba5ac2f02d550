"""Webhooks: events that are told to the URLs that asked for them, signed, and again until they are heard."""
