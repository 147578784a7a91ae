"""The hand-written sides: for each workload the best queries that were found, kept beside their rivals."""
