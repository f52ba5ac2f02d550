"""Commands that need the platform's own floors; they reach ``stoker`` by entry point."""
