"""Column types: what a DynamoDB attribute becomes in the table, and values made comparable between readers.

Three forms of a value: the *descriptor* (`{"N":"1"}`, as exported), the *plain* value (what a column holds, as Python sees
it) and the *canonical* value (strictly type-checked, sets as sorted lists, JSON text parsed), which is what gets compared.
"""

import base64
import json
from dataclasses import dataclass
from decimal import Context, Decimal

EXACT = Context(prec=60)


class Mismatch(AssertionError):
    """A reader gave a value that the column's type can't hold."""


@dataclass(frozen=True)
class Scalar:
    """string, long, decimal, binary, boolean; `json` and `digits` are strings that hold JSON or a number's digits."""

    kind: str


@dataclass(frozen=True)
class ListOf:
    element: object
    a_set: bool = False


@dataclass(frozen=True)
class MapOf:
    value: object


@dataclass(frozen=True)
class Struct:
    fields: dict


@dataclass(frozen=True)
class Undecided:
    """Nothing but NULL and empty lists and maps: no column; what is not NULL is kept in `_ddb_rescued`."""


UNDECIDED = Undecided()
STRING, LONG, DECIMAL, BINARY, BOOLEAN = map(Scalar, ("string", "long", "decimal", "binary", "boolean"))
JSON, DIGITS = Scalar("json"), Scalar("digits")


def set_of(element):
    return ListOf(element, a_set=True)


def iceberg(shape):
    """The Iceberg type, with the structure of the metadata file but without ids."""
    if isinstance(shape, Scalar):
        return {"decimal": "decimal(38, 9)", "json": "string", "digits": "string"}.get(shape.kind, shape.kind)
    if isinstance(shape, ListOf):
        return ("list", iceberg(shape.element))
    if isinstance(shape, MapOf):
        return ("map", "string", iceberg(shape.value))
    return ("struct", {name: iceberg(field) for name, field in shape.fields.items()})


def stored(described):
    """A type of the metadata file, in the form of `iceberg`."""
    if isinstance(described, str):
        return described
    if described["type"] == "list":
        return ("list", stored(described["element"]))
    if described["type"] == "map":
        return ("map", stored(described["key"]), stored(described["value"]))
    return ("struct", {field["name"]: stored(field["type"]) for field in described["fields"]})


def plain(descriptor, shape):
    """What a column of this shape holds for an attribute; `None` for one that is missing or NULL."""
    if descriptor is None or "NULL" in descriptor:
        return None
    ((kind, value),) = descriptor.items()
    if isinstance(shape, ListOf):
        inner = {"SS": "S", "NS": "N", "BS": "B"}.get(kind)
        return [plain({inner: one} if inner else one, shape.element) for one in value]
    if isinstance(shape, MapOf):
        return {name: plain(one, shape.value) for name, one in value.items()}
    if isinstance(shape, Struct):
        assert set(value) <= set(shape.fields)
        return {name: plain(value.get(name), field) for name, field in shape.fields.items()}
    if shape == JSON:
        return json_text(descriptor)
    if shape == DIGITS:
        return value
    assert (kind, shape.kind) in {
        ("S", "string"), ("N", "long"), ("N", "decimal"), ("B", "binary"), ("BOOL", "boolean")
    }, (descriptor, shape)
    if kind == "B":
        return base64.b64decode(value)
    if kind == "N":
        number = Decimal(value)
        return int(number) if shape == LONG else number.quantize(Decimal("1e-9"), context=EXACT)
    return value


def json_text(descriptor):
    """JSON text of a value in a column of types that do not join."""
    ((kind, value),) = descriptor.items()
    if kind == "S":
        return json.dumps(value)
    if kind == "N":
        return value
    if kind == "BOOL":
        return json.dumps(value)
    if kind == "NULL":
        return "null"
    if kind == "L":
        return "[" + ",".join(map(json_text, value)) + "]"
    if kind == "M":
        inner = "{" + ",".join(f"{json.dumps(name)}:{json_text(one)}" for name, one in value.items()) + "}"
        like = len(value) == 1 and next(iter(value)) in {"S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"}
        return '{"M":' + inner + "}" if like else inner
    return json.dumps({kind: value})


def canonical(value, shape, collapse=False):
    """A plain value from a reader, checked and made comparable.

    `collapse`: an empty list or map of structs counts as null, for a reader that can't tell them apart.
    """
    if value is None:
        return None
    if isinstance(shape, ListOf):
        _want(value, list, shape)
        items = [canonical(one, shape.element, collapse) for one in value]
        if collapse and not items and isinstance(shape.element, Struct):
            return None
        return sorted(items) if shape.a_set else items
    if isinstance(shape, MapOf):
        pairs = list(value.items()) if isinstance(value, dict) else [tuple(pair) for pair in value]
        if len({name for name, _ in pairs}) != len(pairs):
            raise Mismatch(f"a map with a key twice: {pairs!r}")
        if collapse and not pairs and isinstance(shape.value, Struct):
            return None
        return {name: canonical(one, shape.value, collapse) for name, one in pairs}
    if isinstance(shape, Struct):
        _want(value, dict, shape)
        if set(value) != set(shape.fields):
            raise Mismatch(f"fields {sorted(value)} in place of {sorted(shape.fields)}")
        return {name: canonical(value[name], field, collapse) for name, field in shape.fields.items()}
    if shape == JSON:
        _want(value, str, shape)
        return ("json", _parsed(value))
    if shape == DIGITS:
        _want(value, str, shape)
        return ("digits", Decimal(value))
    if shape == BINARY:
        _want(value, (bytes, bytearray, memoryview), shape)
        return bytes(value)
    _want(value, {"string": str, "long": int, "decimal": Decimal, "boolean": bool}[shape.kind], shape)
    if shape == LONG and isinstance(value, bool):
        raise Mismatch(f"{value!r} in a column of type long")
    return value


def _want(value, kinds, shape):
    if not isinstance(value, kinds):
        raise Mismatch(f"{value!r} of Python type {type(value).__name__} in a column of type {shape}")


def _parsed(text):
    def tidy(value):
        if isinstance(value, dict):
            ((name, one),) = value.items() if len(value) == 1 else ((None, None),)
            if name in ("SS", "NS", "BS") and isinstance(one, list):
                return {name: sorted(one)}
            return {key: tidy(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [tidy(inner) for inner in value]
        return ("bool", value) if isinstance(value, bool) else value

    def number(digits):
        return Decimal(digits)

    def no_constant(word):
        raise Mismatch(f"{word} is not JSON")

    return tidy(json.loads(text, parse_float=number, parse_int=number, parse_constant=no_constant))
