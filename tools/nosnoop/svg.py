"""Pictures as SVG: rectangles, lines and text, with data attributes that tests read."""
# SPDX-License-Identifier: BSD-2-Clause
from xml.sax.saxutils import escape, quoteattr

FONT = "DejaVu Sans, Verdana, Arial, sans-serif"
# Of memory types (Okabe and Ito's, which those who see few colours can tell apart), and of the
# letters on them.
COLOURS = {
    "UC": ("#d55e00", "#ffffff"), "CD": ("#cc79a7", "#000000"), "UC-": ("#d55e00", "#ffffff"),
    "WC": ("#e69f00", "#000000"), "WC+": ("#f0e442", "#000000"), "WT": ("#56b4e9", "#000000"),
    "WP": ("#0072b2", "#ffffff"), "WB": ("#009e73", "#000000"),
}
MEANING = {
    "UC": "uncached", "CD": "uncached, looks into the caches (AMD)", "WC": "write-combining",
    "WC+": "the same, looks into the caches (AMD)", "WT": "write-through",
    "WP": "write-protected", "WB": "write-back",
}
LEGEND_STEP = 20
FADED = 0.3         # how much of the colour is left
LETTERS_EACH = 160  # in a high cell


class Svg:
    """A picture that grows."""

    def __init__(self, title):
        self.title = title
        self.parts = []

    def rect(self, x, y, width, height, fill, opacity=1, **data):
        """A rectangle; DATA: its data-* attributes."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" '
            f'fill-opacity="{opacity:g}" stroke="#ffffff" stroke-width="1"{attributes(data)}/>')

    def bar(self, x, y, width, height, fill, title="", **data):
        """A rectangle without an edge; TITLE: what is shown where the pointer is."""
        said = f"<title>{escape(title)}</title>" if title else ""
        self.parts.append(
            f'<rect x="{x:.2f}" y="{y:g}" width="{width:.2f}" height="{height:g}" fill="{fill}"'
            f'{attributes(data)}>{said}</rect>')

    def frame(self, x, y, width, height, stroke):
        """The outline of a rectangle."""
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
                          f'fill="none" stroke="{stroke}" stroke-width="2"/>')

    def line(self, x1, y1, x2, y2, stroke="#999999"):
        """A thin line."""
        self.parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" '
                          f'stroke="{stroke}" stroke-width="0.7"/>')

    def text(self, x, y, text, size=11, anchor="start", fill="#000000", bold=False, turn=0):
        """A line of text with its base at Y; TURN: degrees, around its beginning."""
        weight = ' font-weight="bold"' if bold else ""
        turned = f' transform="rotate({turn:g} {x:g} {y:g})"' if turn else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}" '
                          f'fill="{fill}"{weight}{turned}>{escape(text)}</text>')

    def type_cell(self, x, y, width, height, kind, faded=False, mark="", **data):
        """
        A rectangle of a memory type's colour with its letters, again and again if it is high, and
        a MARK behind them.
        """
        fill, ink = COLOURS[kind]
        size = 8 if len(kind + mark) > 3 else 10
        self.rect(x, y, width, height, fill, FADED if faded else 1, type=kind, **data)
        for middle in middles(y, height):
            self.text(x + width / 2, middle + 3.5, kind + mark, size, "middle",
                      "#444444" if faded else ink, not faded)

    def small_type(self, x, y, width, height, kind):
        """As a cell of a memory type, for headings: without data."""
        fill, ink = COLOURS[kind]
        self.rect(x, y, width, height, fill)
        self.text(x + width / 2, y + height / 2 + 3, kind, 8, "middle", ink)

    def legend(self, x, y, kinds):
        """What the colours of KINDS mean, one below the other; returns where that ends."""
        for kind in kinds:
            self.small_type(x, y, 32, 16, kind)
            self.text(x + 40, y + 12, MEANING[kind])
            y += LEGEND_STEP
        return y

    def document(self, width, height):
        """The whole file."""
        return "\n".join([
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" font-family={quoteattr(FONT)}>',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
            *self.parts, "</svg>", ""])


def middles(y, height):
    """Where letters stand in what begins at Y: the middles of parts of equal heights."""
    parts = max(1, int(height / LETTERS_EACH))
    return [y + height * (2 * part + 1) / (2 * parts) for part in range(parts)]


def attributes(data):
    """DATA as data-* attributes, each after a blank."""
    return "".join(f" data-{name.replace('_', '-')}={quoteattr(str(value))}"
                   for name, value in data.items())
