"""What was measured, as a bar chart in SVG. It brings its own ground, light or dark, so that it can be read on any page."""

from html import escape

from report import Medians, time

WIDTH, LEFT, RIGHT = 760, 215, 90
BAR, GAP, HEAD, PADDING = 18, 8, 40, 20
STYLE = """
    .ground { fill: #ffffff; stroke: #d0d7de }
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
    .head { font-weight: 600 }
    .note { fill: #59636e }
    .ours { fill: #0969da } .limit { fill: #8c959f } .peer { fill: #d4a72c }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117; stroke: #3d444d }
      text { fill: #f0f6fc }
      .note { fill: #9198a1 }
      .ours { fill: #4493f8 } .limit { fill: #656c76 } .peer { fill: #bb8009 }
    }
"""


# The works that have a bar.
SHOWN = {
    "inflate", "full-load", "DuckDB, load", "Spark, load, types given", "Spark, load", "keys", "incremental", "Spark, merge",
}


def groups(measured):
    """(heading, bars) where a bar is (label, seconds, class); what was not run is left out."""
    m = Medians(measured)
    options, sizes = measured["options"], measured["sizes"]

    def bars(*wanted):
        return [(label, m.seconds(work), kind) for label, work, kind in wanted if work in m]

    yield f"Full load, {sizes['items']:,} items ({sizes['json'] / 1e6:,.0f} MB of JSON)", bars(
        ("inflate only: the limit", "inflate", "limit"),
        ("ddb-iceberg", "full-load", "ours"),
        ("DuckDB, to Parquet", "DuckDB, load", "peer"),
        ("Spark, types given", "Spark, load, types given", "peer"),
        ("Spark and Iceberg", "Spark, load", "peer"),
    )
    yield f"{options['changes']:,} changes into them", bars(
        ("read keys only: the limit", "keys", "limit"),
        ("ddb-iceberg", "incremental", "ours"),
        ("Spark and Iceberg, MERGE", "Spark, merge", "peer"),
    )


def svg(measured):
    body, y = [], PADDING
    for heading, bars in groups(measured):
        most = max(seconds for _, seconds, _ in bars)
        y += 14
        body.append(f'<text class="head" x="{PADDING}" y="{y}">{escape(heading)}</text>')
        y += HEAD - 26
        for label, seconds, kind in bars:
            width = max(1.5, (WIDTH - LEFT - RIGHT) * seconds / most)
            middle = y + BAR / 2 + 4.5
            body.append(f'<text x="{LEFT - 10}" y="{middle}" text-anchor="end">{escape(label)}</text>')
            body.append(f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>')
            body.append(f'<text class="note" x="{LEFT + width + 8:.1f}" y="{middle}">{time(seconds)}</text>')
            y += BAR + GAP
        y += 14
    machine, rounds = measured["machine"], Medians(measured).rounds(SHOWN)
    runs = f"median of {rounds}" if rounds > 1 else "one run"
    note = f"{machine['cores']} cores of {machine['cpu']}; {runs}; the peers without their own start"
    body.append(f'<text class="note" x="{PADDING}" y="{y + 4}">{escape(note)}</text>')
    height = y + PADDING
    told = "; ".join(f"{heading}: " + ", ".join(f"{label} {time(s)}" for label, s, _ in bars) for heading, bars in groups(measured))
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(told)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
        *body,
        "</svg>",
        "",
    ])
