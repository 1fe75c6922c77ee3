"""Small charts as SVG text: pure functions of names and numbers, coloured by the page's style sheet.

Promises well-formed XML with a title and a description, every name escaped, and no mark for a number that
is missing or not finite. Does not decide what is worth showing, and does not word anything but axes.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeGuard

from markupsafe import escape

FULL_WIDTH, HALF_WIDTH = 820, 400
_COIN_TOSS = 0.5
_CHARACTER_WIDTH = 7.4
_DOTS_FIT = 40
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One row of a dot plot; `marks` pairs a shape (diamond or triangle) with a further figure."""

    label: str
    value: float | None
    interval: tuple[float, float] | None
    figures: str
    marks: tuple[tuple[str, float | None], ...] = ()
    note: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two AUCs of one region: the shared model's and that of a model trained there alone."""

    label: str
    together: float | None
    alone: float | None
    figures: str


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One population's epsilons: spent within reserved within the limit, and the lifetime figure."""

    label: str
    spent: float
    reserved: float
    limit: float
    lifetime: float
    figures: str


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage of a run; stages follow each other."""

    label: str
    seconds: float
    figures: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map of [low, high] onto [start, end] of the drawing; values outside are held at the edge."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Returns the coordinate of value, to a tenth of a pixel."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = 6) -> list[float]:
        """Returns at most about `most` round values within [low, high]."""
        step = _round_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def interval_plot(
    rows: Sequence[IntervalRow], *, title: str, description: str, legend: dict[str, str]
) -> str:
    """Returns a dot plot of AUCs with intervals; the dotted line is a coin toss, legend words each shape."""
    gutter = _gutter(row.label for row in rows)
    known = [number for row in rows for number in (row.value, *(row.interval or ()), *_figures(row.marks))]
    scale = _auc_scale(known, gutter, FULL_WIDTH - 160)
    body = [_legend(legend, gutter)]
    top = 30.0
    for row in rows:
        body.append(_interval_row(row, scale, top + 15))
        top += 44 if row.note else 30
    frame = _vertical_axis(scale, 28, top, reference=_COIN_TOSS)
    return _svg(FULL_WIDTH, top + 24, title, description, [frame, *body])


def auc_bars(rows: Sequence[PairRow], *, title: str, description: str) -> str:
    """Returns two bars a region that grow from a coin toss: the shared model and a model of its own."""
    gutter = min(_gutter(row.label for row in rows), 140.0)
    known = [value for row in rows for value in (row.together, row.alone)]
    scale = _auc_scale(known, gutter, HALF_WIDTH - 96)
    body = [_legend({"bar": "together", "ghost": "alone"}, gutter)]
    top = 30.0
    for row in rows:
        body.append(_text(gutter - 12, top + 17, row.label, "label end", limit=_fits(gutter)))
        body.append(_bar_from_coin(scale, row.together, top + 5, "bar"))
        body.append(_bar_from_coin(scale, row.alone, top + 15, "ghost"))
        body.append(_text(HALF_WIDTH - 2, top + 17, row.figures, "figure end"))
        top += 30
    frame = _vertical_axis(scale, 28, top, reference=_COIN_TOSS, most=5)
    return _svg(HALF_WIDTH, top + 24, title, description, [frame, *body])


def budget_bars(rows: Sequence[BudgetRow], *, title: str, description: str) -> str:
    """Returns one bar per population: spent over reserved over the limit, a tick at the lifetime figure."""
    gutter = _gutter(row.label for row in rows)
    numbers = [number for row in rows for number in (row.spent, row.reserved, row.limit, row.lifetime)]
    scale = Scale(0, max([1e-9, *_finite(numbers)]) * 1.03, gutter, FULL_WIDTH - 130)
    legend = {"bar": "spent", "tint": "reserved", "track": "limit", "tick": "lifetime"}
    body = [_legend(legend, gutter)]
    top = 30.0
    for row in rows:
        body.append(_text(gutter - 12, top + 19, row.label, "label end", limit=_fits(gutter)))
        for number, kind in ((row.limit, "track"), (row.reserved, "tint"), (row.spent, "bar")):
            if math.isfinite(number):
                body.append(_bar(scale.start, scale.at(number), top + 8, 14, kind))
        if math.isfinite(row.lifetime):
            body.append(
                _stroke((scale.at(row.lifetime), top + 4), (scale.at(row.lifetime), top + 26), "tick")
            )
        body.append(_text(FULL_WIDTH - 2, top + 19, row.figures, "figure end"))
        top += 32
    return _svg(FULL_WIDTH, top + 24, title, description, [_vertical_axis(scale, 28, top), *body])


def line_chart(
    points: Sequence[tuple[float, float | None]], *, title: str, description: str, across: str
) -> str:
    """Returns a line over the known points, broken where a value is missing; the axis includes zero."""
    height, left, bottom = 190, 52, 150
    known = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    values = [0.0, *(y for _, y in known)]
    upright = Scale(min(values), max(*values, min(values) + 1e-9) * 1.05 + 1e-12, bottom, 14)
    xs = [x for x, _ in points]
    level = Scale(min(xs, default=0), max(xs, default=0) or 1, left, HALF_WIDTH - 14)
    if level.low == level.high:
        level = Scale(level.low - 1, level.high + 1, left, HALF_WIDTH - 14)
    body = [_horizontal_axis(upright, left, HALF_WIDTH - 14)]
    body += [_text(level.at(x), bottom + 18, _plain(x), "quiet mid") for x in level.ticks(5) if x == int(x)]
    body.append(_text((left + HALF_WIDTH) / 2, height - 4, across, "quiet mid"))
    body += [_polyline([(level.at(x), upright.at(y)) for x, y in run], "line") for run in _runs(points)]
    dots = known if len(known) <= _DOTS_FIT else known[-1:]
    body += [_circle(level.at(x), upright.at(y), 2.6, "dot") for x, y in dots]
    return _svg(HALF_WIDTH, height, title, description, body)


def reliability_plot(points: Sequence[tuple[float, float, float]], *, title: str, description: str) -> str:
    """Returns what happened over what was said, per bin (score, rate, count); area grows with count.

    Counts and rates carry noise: a bin whose count is not positive is left out, a rate is held in [0, 1].
    """
    left, top, size = 52, 30, 250
    across, upright = Scale(0, 1, left, left + size), Scale(0, 1, top + size, top)
    shown = [bin_ for bin_ in points if all(map(math.isfinite, bin_)) and bin_[2] > 0]
    most = max((count for _, _, count in shown), default=1.0)
    body = [
        _horizontal_axis(upright, left, left + size),
        *(_text(across.at(x), top + size + 18, _plain(x), "quiet mid") for x in across.ticks(5)),
        _text(left + size / 2, top + size + 38, "score the model gave", "quiet mid"),
        _text(left, 14, "share to whom it happened", "quiet"),
        _stroke((across.at(0), upright.at(0)), (across.at(1), upright.at(1)), "reference"),
        _polyline([(across.at(score), upright.at(rate)) for score, rate, _ in shown], "line faint"),
    ]
    body += [
        _circle(across.at(score), upright.at(rate), 3 + 8 * math.sqrt(count / most), "dot clear")
        for score, rate, count in shown
    ]
    return _svg(HALF_WIDTH, top + size + 46, title, description, body)


def stage_timeline(rows: Sequence[StageRow], *, title: str, description: str) -> str:
    """Returns one bar a stage, each beginning where the one before ended."""
    gutter = _gutter(row.label for row in rows)
    ends = list(accumulate(row.seconds for row in rows))
    scale = Scale(0, max([1e-9, *ends]), gutter, FULL_WIDTH - 100)
    body = []
    for index, (row, end) in enumerate(zip(rows, ends, strict=True)):
        top = index * 28 + 4
        start, stop = scale.at(end - row.seconds), scale.at(end)
        body.append(_text(gutter - 12, top + 15, row.label, "label end", limit=_fits(gutter)))
        body.append(_bar(start, max(stop, start + 2), top + 4, 14, "bar"))
        body.append(_text(FULL_WIDTH - 2, top + 15, row.figures, "figure end"))
    bottom = len(rows) * 28 + 6
    return _svg(FULL_WIDTH, bottom + 24, title, description, [_vertical_axis(scale, 2, bottom), *body])


def _svg(width: float, height: float, title: str, description: str, body: Iterable[str]) -> str:
    name = f"chart-{zlib.crc32(repr((title, description)).encode('utf-8', 'replace')):08x}"
    half = " half" if width == HALF_WIDTH else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart{half}" role="img" '
        f'viewBox="0 0 {width:g} {height:g}" aria-labelledby="{name} {name}-more">'
        f'<title id="{name}">{_safe(title)}</title><desc id="{name}-more">{_safe(description)}</desc>'
        f"{''.join(body)}</svg>"
    )


def _interval_row(row: IntervalRow, scale: Scale, middle: float) -> str:
    weight = " strong" if row.strong else ""
    parts = [_text(scale.start - 12, middle + 4, row.label, f"label end{weight}", limit=_fits(scale.start))]
    if row.interval is not None and all(map(math.isfinite, row.interval)):
        low, high = (scale.at(edge) for edge in row.interval)
        parts.append(_stroke((low, middle), (high, middle), f"interval{weight}"))
        parts += [_stroke((edge, middle - 5), (edge, middle + 5), "interval") for edge in (low, high)]
    parts += [_mark(shape, scale.at(value), middle) for shape, value in row.marks if _is_known(value)]
    if _is_known(row.value):
        parts.append(_circle(scale.at(row.value), middle, 6 if row.strong else 5, "dot"))
    parts.append(_text(FULL_WIDTH - 2, middle + 4, row.figures, f"figure end{weight}"))
    if row.note:
        parts.append(_text(scale.start + 8, middle + 19, row.note, "quiet note", limit=72))
    return "".join(parts)


def _bar_from_coin(scale: Scale, value: float | None, top: float, kind: str) -> str:
    if not _is_known(value):
        return ""
    first, last = sorted((scale.at(_COIN_TOSS), scale.at(value)))
    return _bar(first, max(last, first + 1), top, 8, kind)


def _auc_scale(values: Iterable[float | None], start: float, end: float) -> Scale:
    lowest = min([_COIN_TOSS, *_finite(values)])
    return Scale(max(0.0, math.floor(lowest * 20) / 20), 1.0, start, end)


def _vertical_axis(
    scale: Scale, top: float, bottom: float, *, reference: float | None = None, most: int = 6
) -> str:
    parts = []
    for value in scale.ticks(most):
        at = scale.at(value)
        dotted = reference is not None and math.isclose(value, reference)
        parts.append(_stroke((at, top), (at, bottom), "reference" if dotted else "grid"))
        parts.append(_text(at, bottom + 17, _plain(value), "quiet mid"))
    return "".join(parts)


def _horizontal_axis(scale: Scale, left: float, right: float) -> str:
    parts = []
    for value in scale.ticks(4):
        at = scale.at(value)
        parts.append(_stroke((left, at), (right, at), "grid"))
        parts.append(_text(left - 8, at + 4, _plain(value), "quiet end"))
    return "".join(parts)


def _legend(words: dict[str, str], start: float) -> str:
    parts, left = [], start
    for shape, word in words.items():
        parts.append(_swatch(shape, left + 6))
        parts.append(_text(left + 18, 14, word, "quiet"))
        left += 34 + len(word) * 6.6
    return "".join(parts)


def _swatch(shape: str, at: float) -> str:
    if shape == "dot":
        return _stroke((at - 8, 10), (at + 8, 10), "interval") + _circle(at, 10, 4, "dot")
    if shape == "tick":
        return _stroke((at, 3), (at, 17), "tick")
    if shape in {"diamond", "triangle"}:
        return _mark(shape, at, 10)
    return _bar(at - 7, at + 7, 5, 10, shape)


def _mark(shape: str, x: float, y: float) -> str:
    corners = (
        [(x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y)]
        if shape == "diamond"
        else [(x, y - 6), (x + 6, y + 5), (x - 6, y + 5)]
    )
    return f'<polygon class="mark" points="{_joined(corners)}"/>'


def _text(x: float, y: float, words: str, kind: str, *, limit: int = 200) -> str:
    shown = words if len(words) <= limit else words[: limit - 1] + "…"
    whole = f"<title>{_safe(words)}</title>" if shown != words else ""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{_safe(shown)}{whole}</text>'


def _stroke(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    return f'<line class="{kind}" x1="{start[0]:g}" y1="{start[1]:g}" x2="{end[0]:g}" y2="{end[1]:g}"/>'


def _bar(start: float, end: float, top: float, height: float, kind: str) -> str:
    width = max(0.0, end - start)
    return f'<rect class="{kind}" x="{start:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="2"/>'


def _circle(x: float, y: float, radius: float, kind: str) -> str:
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:.1f}"/>'


def _polyline(points: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<polyline class="{kind}" points="{_joined(points)}"/>' if len(points) > 1 else ""


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _runs(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is not None and math.isfinite(y):
            runs[-1].append((x, y))
        else:
            runs.append([])
    return runs


def _gutter(labels: Iterable[str]) -> float:
    longest = max((len(label) for label in labels), default=0)
    return min(max(70.0, longest * _CHARACTER_WIDTH + 18), 210.0)


def _fits(gutter: float) -> int:
    return int((gutter - 14) / _CHARACTER_WIDTH) + 1


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _figures(marks: Iterable[tuple[str, float | None]]) -> list[float | None]:
    return [value for _, value in marks]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return float(next(step for step in (1, 2, 5, 10, 20) if step * power >= rough * (1 - 1e-9)) * power)


def _plain(value: float) -> str:
    return f"{round(value, 9) + 0.0:g}"


def _safe(words: str) -> str:
    """Escapes markup; characters that XML cannot hold become U+FFFD."""
    return str(escape(_NOT_IN_XML.sub("\ufffd", words)))
