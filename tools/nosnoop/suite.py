"""tools/test: runs all tests, and reports one row a test and one column a bed."""
# SPDX-License-Identifier: BSD-2-Clause
import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from nosnoop import columns, host_tests, matrix, paths, rows
from nosnoop.status import USAGE, Refusal

NAME_WIDTH = 48
CELL_WIDTH = 13
HOST = "host"


class Report:
    """Prints the table as results come, then that of devices, the failures, and the count."""

    def __init__(self, names):
        self.names = names
        self.counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
        self.failures = []
        self.ran = []  # (row, column, cell) of guests
        self.line("test", {name: name for name in names})

    def line(self, name, texts):
        """Prints one line of the table."""
        cells = (f"{texts.get(column, ''):<{CELL_WIDTH}}" for column in self.names)
        print(f"{name:<{NAME_WIDTH}} {' '.join(cells)}".rstrip(), flush=True)

    def add(self, name, cells):
        """Takes a row's cells (column name: cell)."""
        self.line(name, {column: f"{cell.verdict} {cell.seconds:.1f}s"
                         for column, cell in cells.items()})
        for column, cell in cells.items():
            self.counts[cell.verdict] += 1
            if cell.verdict == "FAIL":
                self.failures.append((f"{name} ({column})", cell))

    def finish(self):
        """Prints what comes behind the table; returns the exit status."""
        for text in matrix.lines(self.ran):
            print(text)
        for title, cell in self.failures:
            print(f"\nFAIL {title}")
            for line in cell.details:
                print(f"  {line}")
        print("\n{PASS} passed, {FAIL} failed, {SKIP} skipped".format(**self.counts), flush=True)
        return 1 if self.counts["FAIL"] or not self.counts["PASS"] else 0


def parse(argv):
    """The options of tools/test."""
    parser = argparse.ArgumentParser(prog="tools/test", description="Runs the tests.")
    names = [HOST] + [column.name for column in columns.COLUMNS + columns.LONG_COLUMNS]
    parser.add_argument("--filter", default="", metavar="NAME",
                        help="only tests whose name contains NAME")
    parser.add_argument("--bed", action="append", choices=names,
                        help="only this column; may stand more than once")
    parser.add_argument("--long", action="store_true", help="all rows in all columns")
    options = parser.parse_args(argv)
    options.columns = [] if options.bed == [HOST] else columns.chosen(options.bed, options.long)
    options.host = not options.bed or HOST in options.bed
    return options


def wanted(row, options):
    """Whether a row is to be run: what takes long only if that is said, or the row's whole name."""
    return options.filter in row.name and (options.long or not row.long
                                           or options.filter == row.name)


def start(pool, options, report):
    """Starts everything; returns functions that wait for rows, {name: {column: cell}}."""
    waiting = []

    def submit(collect, *args):
        waiting.append(pool.submit(collect, *args).result)

    if options.host:  # the longest first, so that at the end no CPU waits for the other
        for path in host_tests.pytest_files():
            submit(lambda path: {name: {HOST: cell} for name, cell in host_tests.run_pytest(
                path, options.filter).items()}, path)
        for program in host_tests.unit_tests():
            if options.filter in program.name:
                submit(lambda program: {program.name: {HOST: host_tests.run_unit(program)}},
                       program)
    for row in rows.of_tree(paths.ROOT / "guest-tests"):
        if wanted(row, options):
            waiting.append(start_row(pool, row, options.columns, report.ran))
    return waiting


def start_row(pool, row, chosen, ran):
    """Starts a row's cells; returns the function that waits for them, and adds them to RAN."""
    chosen = [column for column in chosen if column.runs(row)]
    started = {column.name: pool.submit(columns.run_cell, column, row) for column in chosen}

    def wait():
        cells = {name: future.result() for name, future in started.items()}
        columns.compare(cells)
        ran.extend((row, column, cells[column.name]) for column in chosen)
        return {row.name: cells} if cells else {}

    return wait


def keep_bytecode():
    """Has all that is started find its modules compiled: tools/run is, a thousand times."""
    os.environ["PYTHONPYCACHEPREFIX"] = str(paths.BUILD / "pycache")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def run(argv):
    """Runs and reports; returns the exit status."""
    options = parse(argv)
    keep_bytecode()
    with ThreadPoolExecutor(os.cpu_count() + 1) as pool:  # one of them waits for time to pass
        try:
            names = [column.name for column in options.columns]
            report = Report([HOST] * options.host + names)
            for wait in start(pool, options, report):
                for name, cells in wait().items():
                    report.add(name, cells)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return report.finish()


def main(argv):
    """Returns the exit status of tools/test."""
    try:
        return run(argv)
    except Refusal as problem:
        print(f"tools/test: {problem}", file=sys.stderr)
        return USAGE
