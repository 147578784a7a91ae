"""Synthetic data of any size."""

from flowdsl.samples.datasets import Sample, write_sample

__all__ = ["Sample", "write_sample"]
