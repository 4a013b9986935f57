"""Values that a JSON schema allows, as hypothesis draws them: as much of JSON schema as our own document uses."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


def values(schema: dict[str, Any], parts: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of `schema`; `parts` are the document's components."""
    if "$ref" in schema:
        return values(parts[schema["$ref"].rpartition("/")[2]], parts)
    if "anyOf" in schema:
        return st.one_of([values(each, parts) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    made = MAKERS.get(schema.get("type", ""))
    return made(schema, parts) if made else ANYTHING


def _objects(schema: dict[str, Any], parts: dict[str, Any]) -> st.SearchStrategy[Any]:
    fields = {name: values(each, parts) for name, each in schema.get("properties", {}).items()}
    required = set(schema.get("required", ()))
    optional = {name: each for name, each in fields.items() if name not in required}
    needed = st.fixed_dictionaries({name: fields[name] for name in sorted(required)})
    few = st.lists(st.sampled_from(sorted(optional)), max_size=4, unique=True) if optional else st.just([])
    chosen = few.flatmap(lambda names: st.fixed_dictionaries({name: optional[name] for name in names}))
    return st.builds(lambda one, other: one | other, needed, chosen)


def _arrays(schema: dict[str, Any], parts: dict[str, Any]) -> st.SearchStrategy[Any]:
    most = min(schema.get("maxItems", 3), 3)
    return st.lists(values(schema.get("items", {}), parts), min_size=schema.get("minItems", 0), max_size=most)


def _integers(schema: dict[str, Any], _: dict[str, Any]) -> st.SearchStrategy[Any]:
    most = schema.get("maximum", schema.get("exclusiveMaximum", 2**70) - 1)
    return st.integers(schema.get("minimum"), most)


def _numbers(schema: dict[str, Any], _: dict[str, Any]) -> st.SearchStrategy[Any]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    return st.floats(
        low, schema.get("maximum"), exclude_min="exclusiveMinimum" in schema, allow_nan=False, allow_infinity=False
    )


def _strings(schema: dict[str, Any], _: dict[str, Any]) -> st.SearchStrategy[Any]:
    return st.text(st.characters(codec="utf-8"), min_size=schema.get("minLength", 0), max_size=12)


MAKERS = {
    "object": _objects,
    "array": _arrays,
    "integer": _integers,
    "number": _numbers,
    "string": _strings,
    "boolean": lambda *_: st.booleans(),
    "null": lambda *_: st.none(),
}
