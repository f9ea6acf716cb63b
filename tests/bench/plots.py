"""Two kinds of plot as SVG, from numbers alone."""

COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777"]
STYLE = 'font-family="sans-serif" font-size="12"'


def text(x, y, words, anchor="start", more=""):
    words = str(words).replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" {more}>{words}</text>'


def page(width, height, title, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {STYLE}>'
    white = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, white, text(width / 2, 20, title, "middle", 'font-size="14"'), *parts, "</svg>", ""])


def legend(names, left, top):
    for at, name in enumerate(names):
        y = top + 18 * at
        yield f'<rect x="{left}" y="{y}" width="12" height="12" fill="{COLOURS[at % len(COLOURS)]}"/>'
        yield text(left + 18, y + 10, name)


def bars(title, groups, names, heights):
    """`heights[group][name]` as bars from 0 to 1.2; what is higher is cut and says its height."""
    left, top, high, bar = 50, 40, 240, 14
    wide = bar * len(names) + 24
    width = left + wide * len(groups) + 190
    parts = []
    for tick in range(0, 7):
        y = top + high - tick / 6 * high
        parts.append(f'<line x1="{left}" x2="{left + wide * len(groups)}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(text(left - 6, y + 4, f"{tick * 0.2:.1f}", "end"))
    for place, group in enumerate(groups):
        x = left + place * wide + 12
        parts.append(text(x + bar * len(names) / 2, top + high + 18, group, "middle"))
        for at, name in enumerate(names):
            height = heights[group].get(name)
            if height is None:
                continue
            tall = min(height, 1.2) / 1.2 * high
            box = f'x="{x + at * bar:.0f}" y="{top + high - tall:.1f}" width="{bar - 2}" height="{tall:.1f}"'
            parts.append(f'<rect {box} fill="{COLOURS[at % len(COLOURS)]}"><title>{name}: {height:.3f}</title></rect>')
    parts += legend(names, left + wide * len(groups) + 16, top)
    return page(width, top + high + 34, title, parts)


def lines(title, across, up, series):
    """`series[name]` is a list of (x, y); both axes are logarithmic."""
    from math import ceil, floor, log10

    left, top, wide, high = 70, 40, 420, 280
    points = [point for line in series.values() for point in line]
    low_x, top_x = floor(log10(min(x for x, _ in points))), ceil(log10(max(x for x, _ in points)))
    low_y, top_y = floor(log10(min(y for _, y in points))), ceil(log10(max(y for _, y in points)))
    place_x = lambda x: left + (log10(x) - low_x) / (top_x - low_x) * wide
    place_y = lambda y: top + high - (log10(y) - low_y) / (top_y - low_y) * high
    parts = []
    for power in range(low_x, top_x + 1):
        x = place_x(10**power)
        parts.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{top}" y2="{top + high}" stroke="#ddd"/>')
        parts.append(text(x, top + high + 16, f"{10**power:g}", "middle"))
    for power in range(low_y, top_y + 1):
        y = place_y(10**power)
        parts.append(f'<line x1="{left}" x2="{left + wide}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(text(left - 6, y + 4, f"{10**power:g}", "end"))
    for at, line in enumerate(series.values()):
        colour = COLOURS[at % len(COLOURS)]
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
    parts.append(text(left + wide / 2, top + high + 34, across, "middle"))
    parts.append(text(14, top - 8, up))
    parts += legend(list(series), left + wide + 16, top)
    return page(left + wide + 230, top + high + 46, title, parts)
