"""What callers talk to: gateway, control API, stores."""
