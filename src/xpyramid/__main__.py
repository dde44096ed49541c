"""``python -m xpyramid``: the command line."""

import sys

from xpyramid.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
