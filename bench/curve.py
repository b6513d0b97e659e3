"""Lines over time as an SVG, one panel under the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 860, 104, 64, 150, 34, 26
COLOURS = ("#1f5fa8", "#c2571a", "#2f7d4f", "#7a4b9e")


@dataclass(frozen=True)
class Panel:
    """`lines`: (name, values); a value None leaves a gap."""

    title: str
    lines: Sequence[tuple[str, Sequence[float | None]]]
    bound: float | None = None
    """Drawn across, dashed."""


def svg(title: str, minutes: Sequence[float], panels: Sequence[Panel]) -> str:
    """`minutes` ascending; each line has as many values."""
    height = TOP + len(panels) * (PANEL + GAP) + 16
    box = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="13" fill="#222222">{escape(title)}</text>',
    ]
    span = max(minutes[-1], 1e-9)
    for number, panel in enumerate(panels):
        parts += panel_parts(panel, minutes, span, TOP + number * (PANEL + GAP) + 12)
    y = height - 8
    for tick in ticks(span):
        x = LEFT + (WIDTH - LEFT - RIGHT) * tick / span
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle" fill="#555555">{tick:g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{y}" fill="#555555">minutes</text>')
    return "\n".join([*parts, "</svg>", ""])


def panel_parts(panel: Panel, minutes: Sequence[float], span: float, top: float) -> list[str]:
    known = [value for _, values in panel.lines for value in values if value is not None]
    most = max([*known, panel.bound or 0.0, 1e-9]) * 1.05
    right, bottom = WIDTH - RIGHT, top + PANEL - 12

    def at(minute: float, value: float) -> str:
        return f"{LEFT + (right - LEFT) * minute / span:.1f},{bottom - (bottom - top) * value / most:.1f}"

    parts = [f'<text x="{LEFT}" y="{top - 5}" fill="#222222">{escape(panel.title)}</text>']
    for tick in ticks(most, 3):
        y = bottom - (bottom - top) * tick / most
        parts.append(f'<path d="M{LEFT},{y:.1f}H{right}" stroke="#dddddd" stroke-width="0.7"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555555">{tick:g}</text>')
    if panel.bound is not None:
        y = bottom - (bottom - top) * panel.bound / most
        parts.append(f'<path d="M{LEFT},{y:.1f}H{right}" stroke="#b00020" stroke-dasharray="4 3" stroke-width="0.8"/>')
    for number, (name, values) in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        path, pen = [], "M"
        for minute, value in zip(minutes, values, strict=True):
            if value is None:
                pen = "M"
                continue
            path.append(pen + at(minute, value))
            pen = "L"
        parts.append(f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
        parts.append(f'<text x="{right + 12}" y="{top + 12 + 14 * number}" fill="{colour}">{escape(name)}</text>')
    return parts


def ticks(most: float, about: int = 6) -> list[float]:
    """Round values from 0 up to `most`."""
    raw = most / about
    power = 10.0 ** floor(log10(raw))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= raw)
    return [step * number for number in range(int(most / step) + 1)]
