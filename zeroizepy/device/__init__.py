"""Erasing whole drives: what is asked for is checked and planned here. Nothing in this package runs a program."""
