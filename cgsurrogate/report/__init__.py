"""A comparison drawn as one page that needs no network."""
