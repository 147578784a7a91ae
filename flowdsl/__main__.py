"""`python -m flowdsl` is the command line."""

import sys

from flowdsl.cli.main import main

sys.exit(main())
