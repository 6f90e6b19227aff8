"""Kinds of tables for random histories: a name, a shape and a generator of values for each attribute.

A generator takes `(random, full)`; `full` asks for the value that shows everything the column must hold, so that a full
export with one such item fixes the schema. `None` means that the item lacks the attribute.
"""

import base64
from dataclasses import dataclass

from shapes import BINARY, BOOLEAN, DECIMAL, DIGITS, JSON, LONG, STRING, UNDECIDED, ListOf, MapOf, Scalar, Struct, set_of

WORDS = ["", "a", "Zürich", "naïve", "日本", "🚀🚀", 'quo"te', "back\\slash", "new\nline", "tab\there", "O'Brien", "null", "1", "x" * 300]


@dataclass(frozen=True)
class Profile:
    name: str
    key: dict  # attribute: (shape, generator from a number)
    attributes: dict  # attribute: (shape, generator, chance to be there)

    @property
    def columns(self):
        """Every column but `_ddb_rescued`, by name."""
        keys = {name: shape for name, (shape, _) in self.key.items()}
        return keys | {name: shape for name, (shape, *_) in self.attributes.items() if shape != UNDECIDED}

    @property
    def undecided(self):
        """Attributes without a column: what they have besides NULL is in `_ddb_rescued`."""
        return [name for name, (shape, *_) in self.attributes.items() if shape == UNDECIDED]

    def rescued(self, item):
        """What `_ddb_rescued` holds of an item."""
        return {name: item[name] for name in self.undecided if "NULL" not in item.get(name, {"NULL": True})}


def s(value):
    return {"S": value}


def n(value):
    return {"N": str(value)}


def b(value):
    return {"B": base64.b64encode(value).decode()}


def text(rnd, full=False):
    return s(rnd.choice(WORDS))


def whole(rnd, full=False):
    return n(2**63 - 1 if full else rnd.choice([0, -1, 7, -(2**63), 2**63 - 1, rnd.randrange(-(10**6), 10**6)]))


def fraction(rnd, full=False):
    digits = f"{rnd.choice(['', '-'])}{rnd.randrange(10**rnd.randrange(1, 12))}.{rnd.randrange(1, 10**4):04d}".rstrip("0")
    return n("1234.5678" if full else rnd.choice([digits, digits, "0", "-3", "0.000000001", "0.1"]))


def big(rnd, full=False):
    return n(-(10**28) - 1 if full else rnd.choice([-1, 1]) * rnd.randrange(10 ** rnd.randrange(1, 29)))


def blob(rnd, full=False):
    return b(rnd.randbytes(rnd.choice([0, 1, 5, 100])) if not full else bytes(range(256)))


def flag(rnd, full=False):
    return {"BOOL": rnd.random() < 0.5}


def null(rnd, full=False):
    return {"NULL": True}


def maybe(make, chance=0.3):
    return lambda rnd, full=False: {"NULL": True} if not full and rnd.random() < chance else make(rnd, full)


def listed(make, most=4):
    return lambda rnd, full=False: {"L": [make(rnd, full or False) for _ in range(2 if full else rnd.randrange(most))]}


def collected(kind, make):
    def of(rnd, full=False):
        values = [next(iter(make(rnd, full and not at).values())) for at in range(rnd.randrange(1, 5))]
        return {kind: list(dict.fromkeys(values))}

    return of


def mapped(**fields):
    return mapped_of(fields)


def mapped_of(fields, chance=0.8):
    def of(rnd, full=False):
        return {"M": {name: make(rnd, full) for name, make in fields.items() if full or rnd.random() < chance}}

    return of


def keyed(prefix):
    return lambda number: s(f"{prefix}{number * 7919 % 100_003:06d}")


def counted(number):
    return n(number % 3 - 1)


_LINE = {"sku": text, "qty": whole, "unit price": fraction, "note": maybe(text)}
_LINE_SHAPE = Struct({"sku": STRING, "qty": LONG, "unit price": DECIMAL, "note": STRING})
_ADDRESS = {
    "street": text,
    "zip-code": text,
    "geo.point": mapped_of({"lat": fraction, "lon": fraction}),
    "flags": listed(flag),
    "photo": blob,
}
_ADDRESS_SHAPE = Struct({
    "street": STRING,
    "zip-code": STRING,
    "geo.point": Struct({"lat": DECIMAL, "lon": DECIMAL}),
    "flags": ListOf(BOOLEAN),
    "photo": BINARY,
})

COMMON = Profile(
    "common",
    {"order": (STRING, keyed("C")), "line-no": (LONG, counted)},
    {
        "select": (STRING, text, 0.7),
        "group by": (LONG, whole, 0.7),
        "unit.price": (DECIMAL, fraction, 0.8),
        "Größe": (STRING, text, 0.5),
        "🚀": (BOOLEAN, flag, 0.6),
        "blob-data": (BINARY, blob, 0.6),
        "big": (DECIMAL, big, 0.6),
        "tags": (set_of(STRING), collected("SS", text), 0.5),
        "levels": (set_of(LONG), collected("NS", whole), 0.5),
        "ratios": (set_of(DECIMAL), collected("NS", lambda rnd, full=False: n("0.5") if full else n(f"{rnd.randrange(90)}.25")), 0.5),
        "hashes": (set_of(BINARY), collected("BS", blob), 0.5),
        "lines": (ListOf(_LINE_SHAPE), listed(mapped_of(_LINE)), 0.7),
        "address": (_ADDRESS_SHAPE, mapped_of(_ADDRESS), 0.7),
        "maybe": (STRING, maybe(text), 0.8),
        "scores": (ListOf(LONG), listed(maybe(whole)), 0.6),
        "matrix": (ListOf(ListOf(LONG)), listed(listed(whole)), 0.5),
        "always null": (UNDECIDED, null, 0.5),
        "empty list": (UNDECIDED, lambda rnd, full=False: {"L": []}, 0.5),
        "Mixed_Case": (STRING, text, 0.5),
        "\ttab": (STRING, text, 0.3),
    },
)

FLAT = Profile(
    "no lists",
    COMMON.key,
    {
        name: (shape, make, chance)
        for name, (shape, make, chance) in COMMON.attributes.items()
        if isinstance(shape, Scalar)
    }
    | {"location": (Struct({"lat": DECIMAL, "lon": DECIMAL}), mapped_of({"lat": fraction, "lon": fraction}), 0.7)},
)


def anything(rnd, full=False):
    plain = rnd.choice([text, whole, fraction, blob, flag])
    return rnd.choice([
        plain,
        listed(plain),
        collected("SS", text),
        mapped(S=text),
        mapped(x=whole, y=listed(text), z=mapped(B=blob)),
    ])(rnd)


def wide(make):
    """A map with ever new fields: past 256 of them it is a map, not a struct."""
    return lambda rnd, full=False: {
        "M": {f"field {at}": make(rnd) for at in (range(300) if full else rnd.sample(range(2000), rnd.randrange(5)))}
    }


def extreme(rnd, full=False):
    return n("1E+100" if full else rnd.choice(["1E-130", "9.99E+125", "-1E-100", "0", "12.5", "9" * 38]))


def respelled(rnd, full=False):
    return n(rnd.choice(["1E2", "12.0", "100E-2", "-0", "007", "5e3", "0.0"]))


FINE = Profile(
    "fine print",
    {"id": (STRING, keyed("K"))},
    {
        "mixed": (JSON, lambda rnd, full=False: text(rnd) if full else anything(rnd), 0.8),
        "set or list": (JSON, lambda rnd, full=False: rnd.choice([collected("NS", whole), listed(whole)])(rnd), 0.8),
        "mixed list": (ListOf(JSON), lambda rnd, full=False: {"L": [s("1"), n(1)]} if full else listed(rnd.choice([text, whole]))(rnd), 0.8),
        "extreme": (DIGITS, extreme, 0.8),
        "respelled": (LONG, respelled, 0.8),
        "wide": (MapOf(LONG), wide(whole), 0.8),
        "wide structs": (MapOf(_LINE_SHAPE), wide(mapped_of(_LINE)), 0.8),
        "empty map": (UNDECIDED, lambda rnd, full=False: {"M": {}}, 0.8),
        "deep": (
            ListOf(Struct({"a": ListOf(Struct({"b": Struct({"c": ListOf(BINARY)})}))})),
            listed(mapped_of({"a": listed(mapped_of({"b": mapped_of({"c": listed(blob)})}))})),
            0.8,
        ),
    },
)
