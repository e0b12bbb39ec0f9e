"""Measures the SQL statement of a metrics scrape with some ten thousand and with a million requests.

python benchmarks/gauges.py [rows]
"""

import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/integration/observe"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from test_gauges_cost import FILL, ROWS

from aigen_bridge.embedded import postgres
from aigen_bridge.store.gauges import statement
from aigen_bridge.store.migrations import migrate


def measure(rows: int) -> float:
    """Returns the median milliseconds of the statement with `rows` requests."""
    with TemporaryDirectory() as folder, postgres(Path(folder) / "data") as url:
        migrate(url.replace("postgresql://", "postgresql+psycopg://", 1))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL.replace(str(ROWS), str(rows)))
            connection.execute("VACUUM")
            took = []
            for _ in range(20):
                started = time.perf_counter()
                connection.execute(statement()).fetchall()
                took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    for rows in (60_000, int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000):
        print(f"{rows:>9,} requests: {measure(rows):6.1f} ms")
