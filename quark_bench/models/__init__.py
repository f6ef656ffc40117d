"""Models: how text is generated."""
