"""The engine that runs a replay on Apache Spark.

Goes in: how a plan is laid out over Spark's operators, what runs in the tasks, and how their outputs become a
result. Stays out: what a step does, which the kernels say wherever they run (`kernels`, `engine`). pyspark is
imported when a replay asks for it.
"""
