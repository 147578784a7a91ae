"""`python -m benchmarks` runs the benchmarks."""

import sys

from benchmarks.run import main

sys.exit(main())
