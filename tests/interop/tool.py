"""Runs the binary under test as a user would, in a folder and a home of its own."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Result:
    arguments: list
    exit: int
    json: object
    stdout: str
    stderr: str

    def __str__(self):
        return f"$ ddb-iceberg {' '.join(self.arguments)}\nexit {self.exit}\n{self.stdout}\n{self.stderr}"


class Tool:
    def __init__(self, binary, folder):
        self.binary = Path(binary).resolve()
        self.folder = Path(folder)
        self.home = self.folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments, timeout=120):
        arguments = [str(argument) for argument in arguments]
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        if "RUST_BACKTRACE" in os.environ:
            environment["RUST_BACKTRACE"] = os.environ["RUST_BACKTRACE"]
        done = subprocess.run(
            [self.binary, *arguments], cwd=self.folder, env=environment, timeout=timeout, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, encoding="utf-8", check=False,
        )
        report = None
        if "json" in arguments:
            try:
                report = json.loads(done.stdout)
            except ValueError:
                report = None
        return Result(arguments, done.returncode, report, done.stdout, done.stderr)

    def full_load(self, export, table, warehouse, *more):
        return self.run("full-load", export, "--table", table, *warehouse.arguments, "--format", "json", *more)

    def incremental(self, exports, table, warehouse, *more):
        exports = exports if isinstance(exports, (list, tuple)) else [exports]
        return self.run("incremental", *exports, "--table", table, *warehouse.arguments, "--format", "json", *more)


def keys(profile):
    """`--key` arguments of a table."""
    return [part for name in profile.key for part in ("--key", name)]
