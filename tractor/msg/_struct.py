"""Records of users: `msgspec.Struct` with a few methods that people want to have."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, dataclass_transform

import msgspec
from msgspec import UNSET

from tractor.msg._ext import Hooks

if TYPE_CHECKING:
    # A base class that has no metaclass of its own counts as not frozen, and then none
    # of the classes below it could be.
    @dataclass_transform(field_specifiers=(msgspec.field,))
    class _Meta(msgspec.StructMeta):
        pass
else:
    _Meta = msgspec.StructMeta

_PLAIN = Hooks(None, None, (), typed=True)  # makes a NamespacePath of text


class DiffDump(list[tuple[str, Any, Any]]):
    """Differences of two structs: ``(field, left, right)`` in the order of the fields.

    `msgspec.UNSET` stands for a field that one of them does not have.
    """

    def __repr__(self) -> str:
        lines = [f"  {name}: {left!r} -> {right!r}\n" for name, left, right in self]
        return f"DiffDump[\n{''.join(lines)}]" if lines else "DiffDump[]"


class Struct(msgspec.Struct, metaclass=_Meta):
    """A `msgspec.Struct` that prints on several lines, copies, casts and compares.

    It takes the class options of msgspec, and crosses to other actors as any other.
    """

    def pformat(self) -> str:
        """Its fields, one to a line; structs inside it are indented."""
        return _pformat(self, ())

    def to_dict(self) -> dict[str, Any]:
        """Its fields by name; the values are not copied."""
        return msgspec.structs.asdict(self)

    def copy(self, update: Mapping[str, Any] | None = None) -> Self:
        """The same with some fields changed.

        Args:
            update: New values by field; each must fit the annotation as if it had
                arrived from another actor.

        Raises:
            TypeError: There is no such field, or a value does not fit.
        """
        return self._replace(dict(update or {}), strict=True)

    def typecast(self) -> Self:
        """The same with each value as its annotation says: ``"1"`` as an `int`.

        Raises:
            TypeError: A value cannot be converted.
        """
        return self._replace(self.to_dict(), strict=False)

    def fields_diff(self, other: msgspec.Struct) -> DiffDump:
        """The fields in which `other`, of this or another class, differs."""
        names = dict.fromkeys((*self.__struct_fields__, *other.__struct_fields__))
        pairs = [
            (name, getattr(self, name, UNSET), getattr(other, name, UNSET))
            for name in names
        ]
        return DiffDump(pair for pair in pairs if pair[1] != pair[2])

    def __sub__(self, other: msgspec.Struct) -> DiffDump:
        if not isinstance(other, msgspec.Struct):
            return NotImplemented
        return self.fields_diff(other)

    def _replace(self, changes: dict[str, Any], *, strict: bool) -> Self:
        types = {field.name: field.type for field in msgspec.structs.fields(self)}
        for name, value in changes.items():
            where = f"{type(self).__qualname__}.{name}"
            if name not in types:
                msg = f"there is no field {where}; its fields are {', '.join(types)}"
                raise TypeError(msg)
            try:
                changes[name] = msgspec.convert(
                    value, types[name], strict=strict, dec_hook=_PLAIN.decode
                )
            except msgspec.ValidationError as exc:
                msg = f"{where} cannot be {value!r:.100}: {exc}"
                raise TypeError(msg) from exc
        return msgspec.structs.replace(self, **changes)


def _pformat(struct: msgspec.Struct, parents: tuple[msgspec.Struct, ...]) -> str:
    name = type(struct).__qualname__
    if any(struct is parent for parent in parents):
        return f"{name}(…)"
    lines = []
    for field in struct.__struct_fields__:
        value = getattr(struct, field, UNSET)
        if isinstance(value, msgspec.Struct):
            text = _pformat(value, (*parents, struct))
        else:
            text = repr(value)
        lines.append("\n  " + f"{field}={text},".replace("\n", "\n  "))
    return f"{name}({''.join(lines)}\n)" if lines else f"{name}()"
