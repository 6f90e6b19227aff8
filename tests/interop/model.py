"""A plain-dict model of a DynamoDB table: random histories, cut into a full export and contiguous windows."""

import json
import random
from dataclasses import dataclass, field
from decimal import Decimal

from shapes import canonical, iceberg, plain

START = 1_768_386_000_000  # 2026-01-14T10:20:00Z: the full export's time, and the first window's start
WINDOW = 900_000  # 15 minutes


@dataclass
class Window:
    """What happened in [start, end) ms: `changes` are (micros, keys, old image, new image), one a touched key."""

    start: int
    end: int
    changes: list
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    rescued: dict = field(default_factory=dict)  # values by attribute that are in `_ddb_rescued`


@dataclass
class Model:
    """The items of a table whose history is told window by window."""

    profile: object
    seed: object
    items: dict = field(default_factory=dict)  # key tuple -> item of descriptors
    until: int = START

    def __post_init__(self):
        self.random = random.Random(f"{self.profile.name} {self.seed}")
        self.numbers = 0

    @property
    def columns(self):
        return self.profile.columns

    def key(self, item):
        """The key of an item, comparable: numbers by value."""
        return tuple(canonical(plain(item[name], shape), shape) for name, (shape, _) in self.profile.key.items())

    def keys_of(self, item):
        return {name: item[name] for name in self.profile.key}

    def new_item(self, full=False, number=None):
        """A made-up item; without a number, of a key that no item had before."""
        if number is None:
            number, self.numbers = self.numbers, self.numbers + 1
        item = {name: make(number) for name, (_, make) in self.profile.key.items()}
        for name, (_, make, chance) in self.profile.attributes.items():
            if full or self.random.random() < chance:
                item[name] = make(self.random, full)
        return item

    def fill(self, count):
        """The items of the full export; three of them show all that columns must hold."""
        for at in range(count):
            item = self.new_item(full=at in (0, count // 2, count - 1))
            self.items[self.key(item)] = item

    def put(self, item):
        self.items[self.key(item)] = item

    def remove(self, key):
        self.items.pop(key, None)

    def window(self, operations, act=None):
        """Lets so many random operations happen in the next window, or what `act(model)` does."""
        before = dict(self.items)
        touched = {}

        def touch(key, keys):
            touched[key] = (self.until * 1000 + self.random.randrange(WINDOW * 1000), keys)

        if act is not None:
            act(self)
            for key in dict.fromkeys([*before, *self.items]):
                if before.get(key) is not self.items.get(key):
                    touch(key, self.keys_of(self.items.get(key) or before[key]))
        for _ in range(operations):
            self._operate(touch)
        window = Window(self.until, self.until + WINDOW, [])
        for key, (micros, keys) in touched.items():
            old, new = before.get(key), self.items.get(key)
            if old is None and new is None:
                continue  # inserted and deleted inside the window: DynamoDB exports no record of it
            window.changes.append((micros, keys, old, new))
            window.inserted += old is None
            window.updated += old is not None and new is not None
            window.deleted += new is None
            count(window.rescued, self.profile.rescued(new or {}))
        self.until = window.end
        return window

    def _operate(self, touch):
        rnd = self.random
        kind = rnd.choices(["insert", "update", "patch", "delete", "again"], [4, 4, 3, 3, 1])[0]
        if kind == "insert" or not self.items:
            item = self.new_item()
        elif kind == "again":  # a key that some item has or had
            item = self.new_item(number=rnd.randrange(self.numbers))
        else:
            old = rnd.choice(list(self.items.values()))
            item = dict(old)
            if kind == "delete":
                key = self.key(item)
                self.remove(key)
                touch(key, self.keys_of(item))
                return
            if kind == "update":
                item = self.new_item(number=0) | self.keys_of(old)
            else:
                names = [name for name, (_, _, chance) in self.profile.attributes.items() if chance]
                for name in rnd.sample(names, min(3, len(names))):
                    item.pop(name, None)
                    if rnd.random() < 0.5:
                        item[name] = self.profile.attributes[name][1](rnd, False)
        self.put(item)
        touch(self.key(item), self.keys_of(item))

    def row(self, item):
        """The row of an item, as plain values by column, `_ddb_rescued` included."""
        values = {name: plain(item.get(name), shape) for name, shape in self.columns.items()}
        assert set(item) <= {*values, *self.profile.undecided}, "the profile does not know an attribute"
        rescued = self.profile.rescued(item)
        return values | {"_ddb_rescued": json.dumps(rescued) if rescued else None}

    def rescued(self):
        """Values by attribute that are in `_ddb_rescued`."""
        counts = {}
        for item in self.items.values():
            count(counts, self.profile.rescued(item))
        return counts

    def rows(self):
        return [self.row(item) for item in self.items.values()]

    def types(self):
        """Iceberg types by column."""
        return {name: iceberg(shape) for name, shape in self.columns.items()} | {"_ddb_rescued": "string"}


def count(counts, names):
    for name in names:
        counts[name] = counts.get(name, 0) + 1


def replay(profile, full, windows):
    """The items that records alone lead to: full export's records, then those of each window in order."""
    model = Model(profile, None)
    for record in full:
        model.put(record["Item"])
    for records in windows:
        ordered = sorted(records, key=lambda one: Decimal(one["Metadata"]["WriteTimestampMicros"]["N"]))
        for record in ordered:
            if "NewImage" in record:
                model.put(record["NewImage"])
            else:
                model.remove(model.key(record["Keys"]))
    return model.items
