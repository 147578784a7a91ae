"""`python -m flowdsl` is the command line."""

import sys

from flowdsl.cli import main

sys.exit(main())
