"""Development tools: generated documentation, screenshots, and third-party files. Run with `python -m tools.NAME`."""
