"""`python scripts/make.py TARGET [NAME=value ...]`: what the Makefile calls; `help` lists the targets.

This file holds no syntax that an old Python cannot read, so that an old Python can say that it is too old.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036
    found = ".".join(str(part) for part in sys.version_info[:3])
    sys.exit("The course needs Python 3.10 or newer; this is " + found + ". Try: make learn PYTHON=python3.12")

import targets

if __name__ == "__main__":
    sys.exit(targets.main(sys.argv[1:]))
