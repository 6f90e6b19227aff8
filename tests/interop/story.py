"""A table's story: a model, its exports and the command, told window by window; every report is checked on the way."""

import exports
from judge import assert_files, assert_report, assert_same, assert_schema, assert_window, moment, snapshots
from model import START, Model
from tool import keys


class Story:
    def __init__(self, profile, seed, tool, warehouse, view="NEW_AND_OLD_IMAGES", table="ns.t", modes=()):
        self.model = Model(profile, seed)
        self.tool, self.warehouse, self.view, self.table = tool, warehouse, view, table
        self.modes = modes
        self.bucket = exports.Bucket(tool.folder / "bucket", prefix="copied/here", seed=seed)
        self.arns = []
        self.exports = []

    def place(self, folder):
        """Where the command finds an export that was written to this folder."""
        return folder

    def export_full(self, files=4, empty=()):
        self.full = self.bucket.full(self.bucket.spread(self.model.items.values(), files, empty), self.model.until)
        return self.full

    def load(self, count=200, files=4, empty=(), more=()):
        """Fills the model, exports it and loads it."""
        if count:
            self.model.fill(count)
        folder = self.export_full(files, empty)
        result = self.tool.full_load(self.place(folder), self.table, self.warehouse, *keys(self.model.profile), *more)
        report = assert_report(result, "full-load", self.table, "applied", self.warehouse, START)
        (one,) = report["windows"]
        assert "from" not in one
        assert one["export_arn"] == exports.arn(folder) and moment(one["to"]) == START
        assert one["rows"] == {"inserted": len(self.model.items), "updated": 0, "deleted": 0}
        assert one["rescued"] == self.model.rescued()
        (snapshot,) = snapshots(self.warehouse, self.table)
        assert one["snapshot_id"] == str(snapshot["snapshot-id"])
        assert_files(one, snapshot)
        self.arns.append(exports.arn(folder))
        assert_schema(self.model, self.warehouse, self.table)
        return result

    def export_window(self, operations=80, act=None, files=3, empty=(), view=None):
        """Lets time pass in the model, and exports the window."""
        window = self.model.window(operations, act)
        parts = self.bucket.spread(window.changes, files, empty)
        folder = self.bucket.incremental(parts, window.start, window.end, view or self.view)
        self.arns.append(exports.arn(folder))
        self.exports.append(folder)
        return window, folder

    def apply(self, operations=80, act=None, **how):
        """One window, exported and applied."""
        window, folder = self.export_window(operations, act, **how)
        self.apply_exported(window, folder)
        return window

    def apply_exported(self, window, folder, warnings=0):
        result = self.tool.incremental(self.place(folder), self.table, self.warehouse, *self.modes)
        report = assert_report(result, "incremental", self.table, "applied", self.warehouse, window.end)
        (one,) = report["windows"]
        # Maintenance may have come after it: its snapshots carry no export.
        windows = [s for s in snapshots(self.warehouse, self.table) if "ddb-iceberg.export-arn" in s["summary"]]
        assert_window(one, window, exports.arn(folder), windows[-1])
        # One warning an attribute that did not fit its column, besides those expected; what waits for a type needs none.
        misfits = set(one["rescued"]) - set(self.model.profile.undecided)
        assert len(report["warnings"]) == warnings + len(misfits), report["warnings"]
        return report

    def same(self, readers, when):
        assert_same(self.model, self.warehouse, self.table, readers, when)
