"""``python -m onevision_encoder``: the same as ``ove``."""

import sys

from onevision_encoder.cli import main

if __name__ == "__main__":
    sys.exit(main())
