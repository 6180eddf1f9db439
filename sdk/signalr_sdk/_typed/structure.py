"""Converts decoded values with cattrs into the types that users ask for, such as `result_type`.

A hook is a function that cattrs calls to convert a value to one type. The hooks for single values are in `leaf_values`;
the hooks here are for types that contain other types.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import functools
import reprlib
import types
import typing
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any, Final, ForwardRef, NewType, Union, get_args, get_origin

import attrs

from .._core.redaction import redact_error
from ..errors import LocalProtocolError, ResultTypeError
from ..protocols.values import Naming, field_names
from .annotations import annotations_of
from .leaf_values import HOOKS, KEY_HOOKS, key_meanings, to_enum, unfit

if TYPE_CHECKING:
    from ..interfaces import Converter

    Hook = Callable[[Any, Any], Any]

# The types for which the hub must send a list, and the functions that make them from the list. The hooks of cattrs are
# replaced, because cattrs would accept a text or a dict as a list.
_COLLECTIONS: Final[dict[Any, Callable[[Any], Any]]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Set: frozenset,
    collections.abc.MutableSet: set,
}
# The types for which the hub must send an object (a dict), and the functions that make them from the dict.
_MAPPINGS: Final[dict[Any, Callable[[Any], Any]]] = {
    dict: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.Counter: collections.Counter,
    collections.defaultdict: collections.defaultdict,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
}
_UNIONS: Final = (Union, types.UnionType)
# `make_dict_structure_fn` of cattrs has parameters named `cl` and `converter`, so its keyword arguments cannot rename
# attributes with these names. `structure_object` renames the keys in the dict instead.
_TAKEN: Final = ("cl", "converter")


@lru_cache(maxsize=16)
def default_converter(naming: Naming) -> Converter:
    """Return a cattrs converter that turns the decoded values of a protocol into the types of the user.

    Args:
        naming: how the protocol writes the attribute names of classes.

    Raises:
        LocalProtocolError: cattrs is not installed.
    """
    try:
        # Import cattrs only here: it belongs to the extra `typed`.
        import cattrs
    except ImportError:
        raise LocalProtocolError(
            "result_type needs cattrs: pip install 'signalr-sdk[typed]', or pass converter=..."
        ) from None

    converter = cattrs.Converter(detailed_validation=False)
    for kind, hook in HOOKS.items():
        converter.register_structure_hook(kind, _leaf(kind, hook))
    converter.register_structure_hook(Enum, to_enum)
    # Register these factories in this order: if several factories match a type, cattrs uses the factory that was
    # registered last.
    converter.register_structure_hook_factory(_is_collection, lambda cl: _collection_hook(cl, converter))
    converter.register_structure_hook_factory(_is_mapping, lambda cl: _mapping_hook(cl, converter))
    converter.register_structure_hook_factory(_is_mixed_union, lambda cl: _union_hook(cl, converter))
    converter.register_structure_hook_factory(_has_fields, lambda cl: _class_hook(cl, converter, naming))
    converter.register_structure_hook_factory(_is_named_tuple, lambda cl: _named_tuple_hook(cl, converter))
    converter.register_structure_hook_func(lambda cl: cl is object, lambda value, _cl: value)
    return converter


def structure(converter: Converter | LeafConverter, value: Any, type_: Any) -> Any:
    """Convert the value to the wanted type. For `Any` the value stays unchanged.

    Raises:
        ResultTypeError: the value does not fit the type.
    """
    if type_ is Any:
        return value
    try:
        return converter.structure(value, type(None) if type_ is None else type_)
    except Exception as error:
        wanted = getattr(type_, "__qualname__", type_) if isinstance(type_, type) else type_
        why = f"there is no {redact_error(error)}" if isinstance(error, KeyError) else redact_error(error)
        raise ResultTypeError(f"the value {reprlib.repr(value)} is no {wanted}: {why}", value, type=type_) from error


class LeafConverter:
    """Converts values to the types of `HOOKS`, which contain no other types. It does not need cattrs."""

    def structure(self, value: Any, type_: Any, /) -> Any:
        """See `Converter.structure`."""
        return HOOKS[type_](value)


LEAVES: Final = LeafConverter()


# Hooks of cattrs for types that contain other types


def _leaf(kind: type, hook: Callable[[Any], Any]) -> Hook:
    def structure_leaf(value: Any, cl: Any) -> Any:
        if cl is kind:
            return hook(value)
        # cattrs calls this hook for subclasses of `kind` too, such as an enum that derives from `str`: the result must
        # be of the subclass.
        return to_enum(value, cl) if _is_enum(cl) else cl(hook(value))

    return structure_leaf


def _is_enum(cl: Any) -> bool:
    return isinstance(cl, type) and issubclass(cl, Enum)


def _origin(cl: Any) -> Any:
    return get_origin(cl) or cl


def _is_collection(cl: Any) -> bool:
    return _hashed(_origin(cl)) in _COLLECTIONS


def _is_mapping(cl: Any) -> bool:
    return _hashed(_origin(cl)) in _MAPPINGS


def _hashed(cl: Any) -> Any:
    return cl if isinstance(cl, type) else None


def _collection_hook(cl: Any, converter: Converter) -> Hook:
    build, items = _COLLECTIONS[_origin(cl)], get_args(cl)
    if build is tuple and items and items[-1] is not Ellipsis:
        return _fixed_tuple_hook(() if items == ((),) else items, converter)
    item = items[0] if items else Any

    def structure_collection(value: Any, cl: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise unfit(value, cl)
        return build(value if item is Any else [converter.structure(each, item) for each in value])

    return structure_collection


def _fixed_tuple_hook(items: tuple[Any, ...], converter: Converter, *, defaults: int = 0) -> Hook:
    """Return a function for cattrs that converts a list to a tuple with items of these types.

    The last `defaults` items may be missing in the list.
    """
    required = len(items) - defaults

    def structure_tuple(value: Any, cl: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise unfit(value, cl)
        if not required <= len(value) <= len(items):
            raise ValueError(f"it has {len(value)} items where {len(items)} are wanted")
        return tuple(converter.structure(each, item) for each, item in zip(value, items, strict=False))

    return structure_tuple


def _is_named_tuple(cl: Any) -> bool:
    return isinstance(cl, type) and issubclass(cl, tuple) and hasattr(cl, "_fields")


def _named_tuple_hook(cl: Any, converter: Converter) -> Hook:
    hints = typing.get_type_hints(cl, include_extras=True)
    items = tuple(hints.get(name, Any) for name in cl._fields)
    structure_tuple = _fixed_tuple_hook(items, converter, defaults=len(cl._field_defaults))
    return lambda value, cl: cl(*structure_tuple(value, cl))


def _mapping_hook(cl: Any, converter: Converter) -> Hook:
    origin, arguments = _origin(cl), get_args(cl)
    key, item = (*arguments, Any, Any)[:2]
    if origin is collections.Counter:
        item = int
    build, to_key = _MAPPINGS[origin], _key_hook(key, converter)
    if origin is collections.defaultdict:
        build = functools.partial(build, item if callable(item) else None)

    def structure_mapping(value: Any, cl: Any) -> Any:
        if not isinstance(value, dict):
            raise unfit(value, cl)
        return build({to_key(name): converter.structure(each, item) for name, each in value.items()})

    return structure_mapping


def _key_hook(key: Any, converter: Converter) -> Callable[[Any], Any]:
    hook = KEY_HOOKS.get(_base(key))
    if hook is not None:
        return hook

    def structure_key(value: Any) -> Any:
        failed: Exception | None = None
        for meaning in key_meanings(value):
            try:
                return converter.structure(meaning, key)
            except Exception as error:  # noqa: BLE001  # hooks raise any error for a value that does not fit
                failed = failed or error
        assert failed is not None
        raise failed

    return structure_key


def _base(cl: Any) -> Any:
    while isinstance(cl, NewType):
        cl = cl.__supertype__
    return cl


def _is_mixed_union(cl: Any) -> bool:
    """Return whether the type is a union that cattrs cannot convert itself.

    cattrs converts only `A | None`, and unions of attrs classes and dataclasses.
    """
    if get_origin(cl) not in _UNIONS:
        return False
    others = [member for member in get_args(cl) if member is not type(None)]
    return len(others) > 1 and not all(_has_fields(member) for member in others)


def _union_hook(cl: Any, converter: Converter) -> Hook:
    members = get_args(cl)
    classes = tuple(member for member in members if _has_fields(member))
    # Try the members of the union in their order, but float last, because float also accepts integers.
    others = sorted((member for member in members if member not in classes), key=lambda member: member is float)
    if classes:
        others.append(reduce(lambda left, right: Union[left, right], classes))  # noqa: UP007  # made at run time

    def structure_union(value: Any, cl: Any) -> Any:
        for member in others:
            try:
                return converter.structure(value, member)
            except Exception:  # noqa: BLE001  # any error of a hook means: not this member
                continue
        raise unfit(value, cl)

    return structure_union


def _has_fields(cl: Any) -> bool:
    cls = _origin(cl)
    return isinstance(cls, type) and (attrs.has(cls) or dataclasses.is_dataclass(cls))


def _class_hook(cl: Any, converter: Any, naming: Naming) -> Hook:
    from cattrs.gen import make_dict_structure_fn, override  # installed here: only a cattrs converter calls this method

    names = field_names(_origin(cl), naming) or ()
    hooks = _hooks_of_quoted(_origin(cl), converter)
    renamed: dict[str, Any] = {
        name: override(rename=wire, struct_hook=hooks.get(name)) for name, wire in names if name not in _TAKEN
    }
    taken = {wire: name for name, wire in names if name in _TAKEN and name != wire}
    structure_dict = make_dict_structure_fn(cl, converter, _cattrs_detailed_validation=False, **renamed)

    def structure_object(value: Any, cl: Any) -> Any:
        if not isinstance(value, dict):
            raise unfit(value, cl)
        if taken:
            value = {taken.get(name, name): each for name, each in value.items()}
        return structure_dict(value, cl)

    # cattrs reads the wire names from `overrides`, to find out which class of a union a dict belongs to.
    structure_object.overrides = renamed  # type: ignore[attr-defined]
    return structure_object


def _hooks_of_quoted(cls: type, converter: Converter) -> dict[str, Hook]:
    """Return a dict from attribute names to functions that convert the attribute's value.

    The dict has only the attributes whose type contains a quoted name (`list["Node"]`), which cattrs cannot convert.
    """
    hints = _hints(cls)
    return {
        name: _later(hints[name], converter)
        for name, annotation in annotations_of(cls).items()
        if not isinstance(annotation, str) and hints.get(name, annotation) != annotation
    }


def _later(hint: Any, converter: Converter) -> Hook:
    return lambda value, _cl: converter.structure(value, hint)


# Finding the types whose numbers must be decoded with all digits, as `Decimal`


def needs_exact(type_: Any) -> bool:
    """Return whether `Decimal` is anywhere in a type, so that numbers must be decoded with all their digits."""
    try:
        return _needs_exact_cached(type_)
    except TypeError:
        # The type has no hash, so the cache cannot hold it: for example, it is `Annotated` with a list.
        return _mentions_decimal(type_, {})


@lru_cache(maxsize=1024)
def _needs_exact_cached(type_: Any) -> bool:
    return _mentions_decimal(type_, {})


def _mentions_decimal(type_: Any, seen: dict[int, Any]) -> bool:
    """Return whether `Decimal` is anywhere in a type.

    `seen` is a dict from `id(type)` to the type, for each type that was looked at. It keeps the types alive: otherwise
    Python could give the id to another type, which would then be skipped.
    """
    if type_ is Decimal:
        return True
    if isinstance(type_, str):
        # This part of the type is a quoted name that could not be resolved: look for the word `Decimal` in it.
        return Decimal.__name__ in type_
    if id(type_) in seen:
        return False
    seen[id(type_)] = type_
    return any(_mentions_decimal(part, seen) for part in _parts(type_))


def _parts(type_: Any) -> list[Any]:
    if isinstance(type_, ForwardRef):
        return [type_.__forward_arg__]
    if isinstance(type_, NewType):
        return [type_.__supertype__]
    if get_origin(type_) is typing.Literal:
        return []
    parts = [*get_args(type_), getattr(type_, "__value__", None)]
    cls = _origin(type_)
    if isinstance(cls, type) and (_has_fields(cls) or typing.is_typeddict(cls) or _is_named_tuple(cls)):
        parts += _hints(cls).values()
    return parts


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError, AttributeError):
        # Some names in the annotations exist only for type checkers: return these annotations without resolving names.
        return {name: hint for each in cls.__mro__ for name, hint in annotations_of(each).items()}
