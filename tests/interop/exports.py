"""Writes DynamoDB exports to S3 as DynamoDB lays them out, on a local folder that stands for the bucket."""

import base64
import gzip
import hashlib
import json
import random
from datetime import datetime, timezone
from pathlib import Path

VIEWS = ("NEW_IMAGE", "NEW_AND_OLD_IMAGES")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def iso(ms):
    """Milliseconds since 1970 as manifests spell them: `2026-01-14T10:18:50.622Z`."""
    moment = datetime.fromtimestamp(ms // 1000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def line(record):
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False)


class Bucket:
    """A bucket with the exports of one table. `root` is the bucket's root, `prefix` the exports' S3 prefix."""

    def __init__(self, root, table="orders", table_id="cf263806-6bf1-4e51-a242-7067dcdecc72", prefix=None, seed=0):
        self.root = Path(root)
        self.prefix = prefix
        self.table_arn = f"arn:aws:dynamodb:eu-north-1:123456789123:table/{table}"
        self.table_id = table_id
        self.random = random.Random(f"{seed} {table} {table_id}")

    @property
    def home(self):
        """The folder that holds every export of this bucket."""
        return self.root / (f"{self.prefix}/AWSDynamoDB" if self.prefix else "AWSDynamoDB")

    def full(self, parts, at):
        """A full export at time `at` (ms); `parts`: lists of items, a list a file."""
        lines = [[line({"Item": self._shuffled(item)}) for item in part] for part in parts]
        name = f"{at:014d}-{self.random.getrandbits(32):08x}"
        summary = {"version": "2020-06-30", "exportTime": iso(at)}
        return self._write(name, self.home / name / "data", lines, summary, at)

    def incremental(self, parts, start, end, view):
        """An incremental export of [start, end) ms. `parts`: lists of (micros, keys, old, new), a list a file."""
        assert view in VIEWS
        lines = [[line(self._record(change, view)) for change in part] for part in parts]
        at = end + 24_000 + self.random.randrange(1000)
        name = f"{at:014d}-{self.random.getrandbits(32):08x}"
        summary = {
            "version": "2023-08-01",
            "exportFromTime": iso(start),
            "exportToTime": iso(end),
            "outputView": view,
            "exportType": "INCREMENTAL_EXPORT",
        }
        return self._write(name, self.home / "data", lines, summary, at)

    def spread(self, things, files, empty=()):
        """Deals things over so many files; those whose number is in `empty` stay empty."""
        things = list(things)
        self.random.shuffle(things)
        filled = [number for number in range(files) if number not in empty]
        assert filled or not things
        parts = [[] for _ in range(files)]
        for thing in things:
            parts[self.random.choice(filled)].append(thing)
        return parts

    def _shuffled(self, item):
        names = list(item)
        self.random.shuffle(names)
        return {name: item[name] for name in names}

    def _record(self, change, view):
        micros, keys, old, new = change
        record = {"Metadata": {"WriteTimestampMicros": {"N": str(micros)}}, "Keys": keys}
        if old is not None and view == "NEW_AND_OLD_IMAGES":
            record["OldImage"] = self._shuffled(old)
        if new is not None:
            record["NewImage"] = self._shuffled(new)
        return record

    def _write(self, name, data, files, about, at):
        folder = self.home / name
        folder.mkdir(parents=True)
        data.mkdir(parents=True, exist_ok=True)
        (folder / "_started").write_bytes(b"")
        entries = []
        for lines in files:
            packed = self._pack(lines)
            path = data / ("".join(self.random.choices(_ALPHABET, k=26)) + ".json.gz")
            path.write_bytes(packed)
            entries.append({
                "itemCount": len(lines),
                "md5Checksum": _md5(packed),
                "etag": hashlib.md5(packed[:8]).hexdigest() + "-1",
                "dataFileS3Key": path.relative_to(self.root).as_posix(),
            })
        listing = "".join(line(entry) + "\n" for entry in entries).encode()
        common = {
            "exportArn": f"{self.table_arn}/export/{name}",
            "startTime": iso(at),
            "endTime": iso(at + 180_000),
            "tableArn": self.table_arn,
            "tableId": self.table_id,
            "s3Bucket": "exports-bucket",
            "s3Prefix": self.prefix,
            "s3SseAlgorithm": "AES256",
            "s3SseKmsKeyId": None,
            "manifestFilesS3Key": (folder / "manifest-files.json").relative_to(self.root).as_posix(),
            "billedSizeBytes": 0,
            "itemCount": sum(len(lines) for lines in files),
            "outputFormat": "DYNAMODB_JSON",
        }
        summary = json.dumps({**common, **about}, separators=(",", ":")).encode()
        for stem, content in (("manifest-files", listing), ("manifest-summary", summary)):
            (folder / f"{stem}.json").write_bytes(content)
            (folder / f"{stem}.md5").write_text(_md5(content))
        return folder

    def _pack(self, lines):
        """Gzip; of one file in three the members are two, as DynamoDB may concatenate them."""
        cut = self.random.randrange(len(lines) + 1) if self.random.random() < 1 / 3 else len(lines)
        members = [lines[:cut], lines[cut:]] if cut < len(lines) else [lines]
        return b"".join(gzip.compress("".join(f"{text}\n" for text in part).encode(), 6, mtime=0) for part in members)


def _md5(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def arn(folder):
    """The ARN of the export in this folder."""
    return json.loads((Path(folder) / "manifest-summary.json").read_text())["exportArn"]


def files(folder):
    """What the list of files says of each."""
    return [json.loads(text) for text in (Path(folder) / "manifest-files.json").read_text().splitlines()]


def read(folder, root):
    """Records of an export, read back by its manifests alone: checks the writer against the layout's rules."""
    folder, root = Path(folder), Path(root)
    summary = json.loads((folder / "manifest-summary.json").read_text())
    listing = root / summary["manifestFilesS3Key"]
    assert (folder / "manifest-files.md5").read_text() == _md5(listing.read_bytes())
    total, records = 0, []
    for entry in map(json.loads, listing.read_text().splitlines()):
        packed = (root / entry["dataFileS3Key"]).read_bytes()
        assert entry["md5Checksum"] == _md5(packed)
        lines = gzip.decompress(packed).decode().splitlines()
        assert entry["itemCount"] == len(lines)
        total += len(lines)
        records += [json.loads(text) for text in lines]
    assert summary["itemCount"] == total
    return summary, records
