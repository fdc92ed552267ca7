"""The command line: parsing, rendering, errors. It decides nothing about secrets or files; the modules below do."""
