"""The engine behind `zeroizepy.session`: what a session holds, its journal, signals, storage and encrypted files."""
