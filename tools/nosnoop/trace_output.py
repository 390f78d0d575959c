"""tools/trace: traces as text, CSV, Chrome trace JSON, and a timeline as SVG."""
# SPDX-License-Identifier: BSD-2-Clause
import argparse
import csv
import json
import sys
from pathlib import Path

from nosnoop.status import USAGE, Refusal
from nosnoop.svg import Svg
from nosnoop.trace import EXITS, KINDS, read

COLUMNS = ("cpu", "vm", "number", "us", "tsc", "kind", "name", "what", "info", "a", "b", "details")
# The timeline, in units of the picture.
WIDTH, LEFT, MARGIN, TOP = 1200, 120, 20, 84
GUEST_HEIGHT, ROW, TICKS = 34, 24, 10
# Of what the hypervisor does at an exit (Paul Tol's), again and again where there are more.
EXIT_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866",
                "#44bb99", "#882255", "#999933")
GUEST_COLOUR, MARK_COLOUR = "#dddddd", "#222222"


# --- spans ---

def spans(trace):
    """Of each exit: its Record, when it was entered before (TSC), and when it was dealt with."""
    pending, last = None, 0
    for record in trace.in_order():
        if record.is_kind("exit"):
            if pending:
                yield pending, pending.entered, last if record.entered is None else record.entered
            pending = record
        last = record.tsc
    if pending:
        yield pending, pending.entered, last


def marks(trace):
    """The Records that are no exits."""
    return [record for record in trace.in_order() if not record.is_kind("exit")]


# --- text and CSV ---

def rows(traces):
    """The lines of the CSV file."""
    for trace in traces:
        for r in trace.in_order():
            kind = KINDS[r.kind] if r.kind < len(KINDS) else r.kind
            yield (trace.cpu, trace.vm, r.number, f"{trace.us(r.tsc):.3f}", r.tsc, kind, r.name,
                   r.what, r.info, hex(r.a), hex(r.b), r.details())


def as_text(traces, out):
    """A line for each record."""
    for trace in traces:
        print(f"CPU {trace.cpu}, VM {trace.vm}, {len(trace.records)} records", file=out)
        for r in trace.in_order():
            print(f"{r.number:>7} {trace.us(r.tsc):>14.3f} us  {r.name:<16} {r.details()}",
                  file=out)


def as_csv(traces, out):
    """The CSV file."""
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(rows(traces))


# --- Chrome's trace events ---

def events(trace, process):
    """The events of a CPU: the guest's and the hypervisor's spans, and marks between them."""
    here = {"pid": process, "tid": trace.cpu}
    yield {"ph": "M", "name": "process_name", **here, "args": {"name": f"VM {trace.vm}"}}
    yield {"ph": "M", "name": "thread_name", **here, "args": {"name": f"CPU {trace.cpu}"}}
    for record, entered, done in spans(trace):
        if entered is not None:
            yield {"ph": "X", "name": "guest", "cat": "guest", **here, "ts": trace.us(entered),
                   "dur": trace.us(record.tsc) - trace.us(entered)}
        yield {"ph": "X", "name": record.name, "cat": "exit", **here, "ts": trace.us(record.tsc),
               "dur": trace.us(done) - trace.us(record.tsc), "args": arguments(record)}
    for record in marks(trace):
        yield {"ph": "i", "s": "t", "name": record.name, "cat": "mark", **here,
               "ts": trace.us(record.tsc), "args": arguments(record)}


def arguments(record):
    """What a click on an event shows."""
    return {"number": record.number, "details": record.details()}


def as_json(traces, out):
    """The JSON file: a process for each VM, a thread for each CPU."""
    names = sorted({trace.vm for trace in traces})
    found = [event for trace in traces for event in events(trace, names.index(trace.vm) + 1)]
    json.dump({"displayTimeUnit": "ns", "traceEvents": found}, out, indent=0)
    out.write("\n")


# --- the timeline ---

class Scale:
    """Microseconds to the picture's columns."""

    def __init__(self, start, end):
        self.start, self.end = start, max(end, start + 0.001)

    def x(self, us):
        """Where a moment is, within the picture."""
        part = (min(max(us, self.start), self.end) - self.start) / (self.end - self.start)
        return LEFT + part * (WIDTH - LEFT - MARGIN)

    def shows(self, start, end):
        """Whether a span is in sight."""
        return end >= self.start and start <= self.end

    def step(self):
        """Between the axis's ticks: 1, 2 or 5 of a power of ten."""
        wanted = (self.end - self.start) / TICKS
        power = 10.0 ** (len(f"{int(wanted)}") - 1 if wanted >= 1 else -3)
        while not any(power * n >= wanted for n in (1, 2, 5)):
            power *= 10
        return next(power * n for n in (1, 2, 5) if power * n >= wanted)

    def draw(self, svg, top, bottom):
        """The axis."""
        step = self.step()
        at = step * -(-self.start // step)
        while at <= self.end:
            svg.line(self.x(at), top, self.x(at), bottom, "#cccccc")
            svg.text(self.x(at), top - 5, f"{at:.10g}", 10, "middle")
            at += step
        svg.text(LEFT - 44, top - 5, "\u00b5s", 10, "end")


def colours(traces):
    """A colour for each kind of exit that there is."""
    there = sorted({record.what for trace in traces for record, _, _ in spans(trace)})
    return {what: EXIT_COLOURS[i % len(EXIT_COLOURS)] for i, what in enumerate(there)}


def draw_spans(svg, scale, trace, y, colour):
    """The guest's time and that of each exit."""
    svg.text(LEFT - 8, y + 14, "guest", 11, "end")
    svg.text(LEFT - 8, y + 30, "hypervisor", 11, "end")
    for record, entered, done in spans(trace):
        start, at, end = (trace.us(tsc if tsc is not None else record.tsc)
                          for tsc in (entered, record.tsc, done))
        if scale.shows(start, at) and entered is not None:
            svg.bar(scale.x(start), y, max(scale.x(at) - scale.x(start), 0.3), GUEST_HEIGHT / 2 - 1,
                    GUEST_COLOUR)
        if scale.shows(at, end):
            svg.bar(scale.x(at), y + GUEST_HEIGHT / 2, max(scale.x(end) - scale.x(at), 0.6),
                    GUEST_HEIGHT / 2 - 1, colour[record.what],
                    f"{at:.3f} \u00b5s: {record.name}, {record.details()}", name=record.name,
                    number=record.number)


def draw_marks(svg, scale, trace, kind, y):
    """The moments of one kind, and how many there are in sight."""
    there = [record for record in marks(trace) if record.kind == kind
             and scale.shows(trace.us(record.tsc), trace.us(record.tsc))]
    name = KINDS[kind] if kind < len(KINDS) else str(kind)
    svg.text(LEFT - 8, y + 15, f"{name} ({len(there)})", 11, "end")
    svg.line(LEFT, y + ROW - 2, WIDTH - MARGIN, y + ROW - 2, "#eeeeee")
    for record in there:
        at = trace.us(record.tsc)
        svg.bar(scale.x(at) - 0.8, y + 4, 1.6, ROW - 9, MARK_COLOUR,
                f"{at:.3f} \u00b5s: {record.name}, {record.details()}", name=record.name,
                number=record.number)


def draw_trace(svg, scale, trace, y, colour):
    """One CPU; returns where it ends."""
    svg.text(MARGIN, y - 24, f"CPU {trace.cpu}, VM {trace.vm}", 13, bold=True)
    kinds = sorted({record.kind for record in marks(trace)})
    end = y + GUEST_HEIGHT + 6 + ROW * len(kinds)
    scale.draw(svg, y, end)
    draw_spans(svg, scale, trace, y + 2, colour)
    for index, kind in enumerate(kinds):
        draw_marks(svg, scale, trace, kind, y + GUEST_HEIGHT + 6 + ROW * index)
    return end


def draw_legend(svg, y, colour, traces):
    """What the colours mean, and how many exits there are; returns where that ends."""
    count = {what: sum(record.what == what for trace in traces for record, _, _ in spans(trace))
             for what in colour}
    x = LEFT
    for what, fill in colour.items():
        name = EXITS[what] if what < len(EXITS) else str(what)
        text = f"exit {name} ({count[what]})"
        if x + 24 + 7 * len(text) > WIDTH - MARGIN:
            x, y = LEFT, y + 22
        svg.rect(x, y, 16, 14, fill)
        svg.text(x + 21, y + 11.5, text)
        x += 40 + 7 * len(text)
    return y + 22


def as_svg(traces, out, start=None, end=None):
    """The timeline, of the microseconds from START to END."""
    svg = Svg("Trace")
    times = [trace.us(record.tsc) for trace in traces for record in trace.in_order()]
    scale = Scale(min(times) if start is None else start, max(times) if end is None else end)
    colour = colours(traces)
    svg.text(MARGIN, 26, "Trace: what each CPU did, in microseconds since it was turned on", 16,
             bold=True)
    y = TOP
    for trace in traces:
        y = draw_trace(svg, scale, trace, y, colour) + 60
    y = draw_legend(svg, y - 36, colour, traces)
    out.write(svg.document(WIDTH, y + MARGIN))


# --- the tool ---

def chosen(traces, cpu):
    """The Traces of one CPU, or all."""
    found = [trace for trace in traces if cpu in (None, trace.cpu)]
    if not found:
        raise Refusal(f"there is no trace of CPU {cpu}; there is of "
                      f"{', '.join(str(trace.cpu) for trace in traces)}")
    return found


def parse(argv):
    """The options."""
    parser = argparse.ArgumentParser(
        prog="tools/trace", description="Shows a trace. Without an option for a file: as text.")
    parser.add_argument("log", metavar="FILE", type=Path,
                        help="a log with lines of the trace, or a dump of a ring's memory")
    for name, what in (("json", "Chrome trace JSON, which Perfetto and chrome://tracing open"),
                       ("csv", "a table"), ("svg", "a timeline")):
        parser.add_argument(f"--{name}", type=Path, metavar="OUT", help=f"write {what}")
    parser.add_argument("--cpu", type=int, metavar="N", help="of this CPU alone")
    parser.add_argument("--from", type=float, dest="start", metavar="US",
                        help="where the timeline begins, in microseconds since the trace began")
    parser.add_argument("--to", type=float, dest="end", metavar="US", help="where it ends")
    return parser.parse_args(argv)


def write(options, traces):
    """Writes what the options ask for."""
    outputs = [(options.json, as_json), (options.csv, as_csv),
               (options.svg, lambda found, out: as_svg(found, out, options.start, options.end))]
    for path, output in outputs:
        if path:
            with open(path, "w", encoding="utf-8", newline="") as out:
                output(traces, out)
    if not any(path for path, _ in outputs):
        as_text(traces, sys.stdout)


def main(argv):
    """Returns the exit status of tools/trace."""
    options = parse(argv)
    try:
        traces, warnings = read(options.log.read_bytes())
        for warning in warnings:
            print(f"tools/trace: {options.log}: {warning}", file=sys.stderr)
        write(options, chosen(traces, options.cpu))
    except Refusal as problem:
        print(f"tools/trace: {options.log}: {problem}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        return 0
    except OSError as problem:
        print(f"tools/trace: {problem}", file=sys.stderr)
        return USAGE
    return 0
