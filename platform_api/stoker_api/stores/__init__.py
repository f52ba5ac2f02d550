"""What the platform remembers: store protocols, and their implementations in a folder each."""
