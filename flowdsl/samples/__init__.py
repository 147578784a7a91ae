"""Made-up data of any size."""

from flowdsl.samples.history import Sample, write_sample

__all__ = ["Sample", "write_sample"]
