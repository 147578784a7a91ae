"""Benchmarks: flowdsl beside the best hand-written queries of the same jobs, verified against each other."""
