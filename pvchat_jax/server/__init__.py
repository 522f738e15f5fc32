"""The assistant behind HTTP: an OpenAI-compatible interface, a page for the browser, and a queue that is fair to all clients."""
