"""``python -m xpyramid``: the command line."""

import sys

from xpyramid._cli import main

if __name__ == "__main__":
    sys.exit(main())
