"""What was measured, as Markdown: one table of the works beside limits, peers and targets, and one of all that was run."""

from statistics import median

MIB = 1 << 20
MOST_MEMORY = 512 * MIB
# The same memory is never the same to the byte.
GROWTH = 1.1


class Medians:
    """The works by name; a work that was not run is `None`."""

    def __init__(self, measured):
        self.works = measured["works"]

    def __contains__(self, work):
        return work in self.works

    def rounds(self, works):
        """How often each of these works was run, at least: a run may have been cut short."""
        return min(len(samples) for work, samples in self.works.items() if work in works)

    def seconds(self, work):
        """The median; of a peer without its own start."""
        samples = self.works.get(work)
        return median(one.get("work", one["wall"]) for one in samples) if samples else None

    def wall(self, work):
        return median(one["wall"] for one in self.works[work])

    def cpu(self, work):
        return median(one["cpu"] for one in self.works[work])

    def peak(self, work):
        return max(one["peak"] for one in self.works[work])


def time(seconds):
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def beside(seconds, ours):
    """A peer's time, and how many times ours it is."""
    if seconds is None:
        return ""
    return f"{time(seconds)} ({seconds / ours:.1f})" if seconds < 10 * ours else f"{time(seconds)} ({seconds / ours:.0f})"


class Target:
    def __init__(self, text, value, is_met):
        self.text = f"{text}: {'yes' if is_met else 'no'}, {value}"
        self.is_met = is_met


def at_most(times, what, ours, other):
    """A target that is a number of times another's time, where that was run."""
    if other is None:
        return []
    if times < 1:
        return [Target(f"≤ 1/{1 / times:.0f} of {what}", f"1/{other / ours:.1f}", ours <= times * other)]
    return [Target(f"≤ {times:.3g} × {what}", f"{ours / other:.2f} ×", ours <= times * other)]


def increment_target(ours, keys):
    return [Target("≤ 2 × keys + 150 ms", time(2 * keys + 0.15), ours <= 2 * keys + 0.15)]


def rows(measured):
    """(title, work of ours, limit, DuckDB, Spark, targets) of each line of the table."""
    m = Medians(measured)
    inflate, keys = m.seconds("inflate"), m.seconds("keys")
    duckdb, spark, merge = m.seconds("DuckDB, load"), m.seconds("Spark, load"), m.seconds("Spark, merge")
    changes = f"{measured['options']['changes']:,} changes"

    detect = m.seconds("detect-schema")
    yield "`detect-schema`, all items", "detect-schema", inflate, None, None, at_most(2.5, "inflate", detect, inflate)
    load = m.seconds("full-load")
    targets = at_most(4, "inflate", load, inflate) + at_most(1 / 4, "DuckDB", load, duckdb) + at_most(1 / 12, "Spark", load, spark)
    yield "`full-load` with a schema file", "full-load", inflate, duckdb, spark, targets
    if "Spark, load, types given" in m:
        yield "… and Spark given the types", "full-load", inflate, None, m.seconds("Spark, load, types given"), []
    one = m.seconds("full-load, 1 thread")
    scaling = [Target("≥ 1.8 × as fast with 2 threads", f"{one / load:.2f} ×", one / load >= 1.8)]
    yield "`full-load`, 1 thread", "full-load, 1 thread", None, None, None, scaling
    yield "`full-load`, a tenth of the items", "full-load, a tenth of the items", None, None, None, []

    ours = m.seconds("incremental")
    targets = at_most(1 / 50, "Spark", ours, merge) + increment_target(ours, keys)
    yield f"`incremental`, {changes}", "incremental", keys, None, merge, targets
    again = m.seconds("incremental, already applied")
    yield "`incremental`, already applied", "incremental, already applied", None, None, None, [
        Target("≤ 100 ms", time(again), again <= 0.1)
    ]
    if "incremental, large" in m:
        ours, keys = m.seconds("incremental, large"), m.seconds("keys, large")
        title = f"`incremental`, 10,000 changes into {measured['options']['large_items']:,} rows"
        yield title, "incremental, large", keys, None, None, increment_target(ours, keys)
        more = m.peak("full-load, large") / m.peak("full-load")
        growth = [Target("no more memory than the other load", f"{more:.2f} ×", more <= GROWTH)]
        yield f"`full-load`, {measured['options']['large_items']:,} items", "full-load, large", None, None, None, growth
    if (many := measured["options"].get("large_changes")):
        title = f"`incremental`, {many:,} changes into {measured['options']['large_items']:,} rows"
        yield title, "incremental, large window", None, None, None, []
    start = m.seconds("--help")
    yield "`--help`", "--help", None, None, None, [Target("≤ 20 ms", time(start), start <= 0.02)]
    if (delay := measured["options"]["s3_latency"]) is not None:
        plain, late = m.seconds("full-load on S3, 0 ms"), m.seconds(f"full-load on S3, {delay} ms")
        yield "`full-load`, S3 stand-in", "full-load on S3, 0 ms", None, None, None, []
        yield f"… that answers {delay} ms late", f"full-load on S3, {delay} ms", None, None, None, at_most(1.3, "that which does not wait", late, plain)


def table(measured):
    m = Medians(measured)
    lines = ["| work | ours | CPU | peak | limit (ours / it) | DuckDB (/ ours) | Spark (/ ours) | targets |", "|---|---|---|---|---|---|---|---|"]
    for title, work, limit, duckdb, spark, targets in rows(measured):
        ours, peak = m.seconds(work), m.peak(work)
        targets = list(targets)
        if peak > MOST_MEMORY:
            targets.append(Target("≤ 512 MiB", f"{peak / MIB:.0f} MiB", False))
        cells = [
            title, time(ours), time(m.cpu(work)), f"{peak / MIB:.0f} MiB",
            f"{time(limit)} ({ours / limit:.2f})" if limit else "", beside(duckdb, ours), beside(spark, ours),
            "<br>".join(target.text for target in targets),
        ]
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |"))
    return lines


def files_table(measured):
    """The increment by the number of data files: where any key may be in each of them, and where few of them can hold a key."""
    if not (counts := measured["options"]["data_files"]):
        return []
    m = Medians(measured)
    lines = ["", "100 changes into 50,000 rows, by the number of data files:", ""]
    lines += ["| data files | any key in each | CPU | sorted by key | CPU |", "|---|---|---|---|---|"]
    for count in counts:
        cells = []
        for layout in ("any", "sorted"):
            work = f"incremental, {count} files, {layout}"
            cells += [time(m.seconds(work)), time(m.cpu(work))]
        lines.append(f"| {measured['notes'][f'{count} files, any']:,} | {' | '.join(cells)} |")
    return lines


def all_works(measured):
    m = Medians(measured)
    lines = ["| work | wall | without its start | CPU | peak | runs: wall |", "|---|---|---|---|---|---|"]
    for work, samples in measured["works"].items():
        own = time(m.seconds(work)) if "work" in samples[0] else ""
        walls = ", ".join(f"{one['wall']:.2f}" for one in samples[:10])
        lines.append(f"| {work} | {time(m.wall(work))} | {own} | {time(m.cpu(work))} | {m.peak(work) / MIB:.0f} MiB | {walls} |")
    return lines


def markdown(measured):
    machine, options = measured["machine"], measured["options"]
    if options["only"]:
        about = f"{machine['cores']} cores of {machine['cpu']}, medians of {options['runs']}. {measured['program']}, {measured['commit']}."
        about += f" Load of the machine at the start: {measured['load_at_start']:.1f}."
        return "\n".join([about, *files_table(measured), "", "All that was run:", "", *all_works(measured), ""])
    sizes = measured["sizes"]
    peers = ", ".join(f"{'DuckDB' if name == 'duckdb' else 'Spark'} {measured['peers'][name]}" for name in options["peers"])
    about = (
        f"{sizes['items']:,} items in {sizes['files']} files ({sizes['json'] / 1e6:,.0f} MB of JSON, {sizes['gzip'] / 1e6:,.0f} MB as gzip) "
        f"and a window of {options['changes']:,} changes, on {machine['cores']} cores of {machine['cpu']}, files in the page cache; "
        f"medians of {Medians(measured).rounds(['full-load'])}, peak memory the most of them. {measured['program']}"
        + (f", {measured['commit']}" if measured["commit"] else "") + (f"; {peers}" if peers else "")
        + f". Load of the machine at the start: {measured['load_at_start']:.1f}."
    )
    limits = (
        "The limit of `detect-schema` and `full-load` is to inflate the same files by zlib-rs on as many threads; that of `incremental`, to read "
        "the key columns of the table. Of the peers' times, their own start is left out."
    )
    return "\n".join(
        [about, "", *table(measured), "", limits, *files_table(measured), "", "All that was run:", "", *all_works(measured), *requests(measured), ""]
    )


def requests(measured):
    told = [f"{note}: {count:,}" for note, count in measured["notes"].items() if note.startswith("requests")]
    return ["", f"Load on the S3 stand-in, {'; '.join(told)}."] if told else []
