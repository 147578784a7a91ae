"""Synthetic data of any size.

Goes in: made-up events. Stays out: flows.
"""

from flowdsl.samples.datasets import Sample, write_sample

__all__ = ["Sample", "write_sample"]
