"""One session of Spark for a whole run of tests: two cores, little memory."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from flowdsl.spark.sources import silence_warnings

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "1g",
    # what runs for a minute is not worth the second compiler, nor threads that collect
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    # streams of many small batches
    "spark.sql.execution.arrow.maxRecordsPerBatch": "3",
    "spark.log.level": "ERROR",
}


def why_not() -> str | None:
    """Why Spark does not run here; None where it does."""
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed: pip install 'flowdsl[spark]'"
    return None if shutil.which("java") else "Spark needs Java, and there is none"


@functools.cache
def session(master: str = "local[2]") -> Any:
    """The session of this process, made at the first call."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    # functions in flows of tests stand in modules of tests
    known = [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, known))
    with silence_warnings():
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master(master).appName("tests of flowdsl")
        for name, value in SETTINGS.items():
            builder = builder.config(name, value)
        return builder.getOrCreate()
