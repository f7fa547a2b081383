"""What each model of the family changes of its parent, as text that a test holds.

python scripts/diffs.py            write tests/diffs.txt
python scripts/diffs.py --check    exit status 1 when it is not what the family says today
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lib.spec import diff, family, tree

FILE = Path(__file__).resolve().parent.parent / "tests" / "diffs.txt"


def text() -> str:
    """The tree, and for each child what differs."""
    children = [spec for spec in family().values() if spec.parent]
    parts = [f"{spec.parent} -> {spec.name}\n{diff(spec.parent, spec)}\n" for spec in children]
    return "\n".join([tree() + "\n", *sorted(parts)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    if not parser.parse_args().check:
        FILE.write_text(text(), encoding="utf-8", newline="\n")
        return 0
    if FILE.read_text(encoding="utf-8") == text():
        return 0
    print(f"{FILE.name} is not what the family says. Look at the change, and write it again: python scripts/diffs.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
