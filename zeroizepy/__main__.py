"""Entry point of the `zeroizepy` command; what it needs beyond the library is checked before anything else."""

from __future__ import annotations

import sys

__all__ = ["main"]

_PROGRAMS = ("click", "rich")


def main() -> int:
    """Run the command line on sys.argv.

    Returns:
        0 done, 1 the job failed, 2 bad usage, 130 interrupted with Ctrl-C.
    """
    try:
        import rich  # noqa: F401 - wanted later, missed now.

        from .cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in _PROGRAMS:
            raise
        sys.stderr.write("zeroizepy: error: the command line needs click and rich\n")
        sys.stderr.write("zeroizepy: hint: pip install 'zeroizepy[cli]'\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
