"""Chat models that answer one prompt: behind a server's address, or from a local directory."""
