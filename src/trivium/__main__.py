"""`python -m trivium`: the same as the command `trivium`."""

import sys

from trivium.cli import main

sys.exit(main())
