"""Leak checks: where copies of a secret stand in memory, core dumps and swap. The public names are in testing."""
