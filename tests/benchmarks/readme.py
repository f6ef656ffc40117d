"""Puts what `make bench` found into the README: `readme.py .benchmarks/bench.json README.md`."""

import json
import re
import sys
from pathlib import Path

from bars import Row, markdown_table

BETWEEN = re.compile(r"(<!-- made by `make table` -->\n).*?(<!-- end -->)", re.DOTALL)


def section(results):
    """When, where and beside what it was measured, and the table."""
    machine = results["machine_info"]
    where = f"{results['datetime'][:10]}, {machine['cores']} cores of an {machine['cpu']['brand_raw']}"
    versions = {"Python": machine["python_version"]} | machine["versions"]
    rows = [Row.of_data(row) for each in results["benchmarks"] for row in each["extra_info"]["rows"]]
    return f"{where}, {', '.join(map(' '.join, versions.items()))}:\n\n{markdown_table(rows)}\n\n"


def main(found, readme):
    made = section(json.loads(Path(found).read_text()))
    text, count = BETWEEN.subn(lambda marks: marks[1] + made + marks[2], Path(readme).read_text())
    assert count == 1, f"{readme} has no place for the table"
    Path(readme).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
