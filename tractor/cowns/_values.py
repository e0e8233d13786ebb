"""How values are packed when they leave their place, and handles inside of them.

By default that is msgpack; `serializer=` names a module with `dumps` and `loads`, whose
bytes go between the scope and its own workers only (docs/adr/0014). Either way a handle
inside of a value is its number, and who unpacks it makes a handle of that again.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from tractor._exceptions import FrameTooLarge
from tractor._types import Uid
from tractor.cowns._cown import Cown, Keeper, PinnedCown, ambient, number_of
from tractor.futures.parts import Kind, Packer
from tractor.msg import PayloadType

if TYPE_CHECKING:
    from collections.abc import Callable

SLACK: Final = 4096  # bytes of a frame that are not payload
FAILED: Final[dict[Kind, int]] = {"error": 1, "boxed": 2}
_KINDS: Final = {number: kind for kind, number in FAILED.items()}


class Codec:
    """Packs and unpacks for one keeper.

    Attributes:
        encode: Packs a value, or raises.
        decode: Unpacks one, or raises.
        none: What `None` is.

    Args:
        serializer: Name of a module with `dumps` and `loads`; `None` for msgpack.
        keeper: Whose handles they are.
        uid: Of this actor.
        max_frame: What is larger, packed, cannot be sent.
    """

    def __init__(
        self, serializer: str | None, keeper: Keeper, uid: Uid, max_frame: int
    ) -> None:
        self.serializer = serializer
        self._packer = Packer(serializer)
        self._keeper = keeper
        self._uid = uid
        self._limit = max_frame - SLACK
        self.encode: Callable[[Any], bytes]
        self.decode: Callable[[bytes], Any]
        if serializer is None:
            self._payload = PayloadType(
                Any,
                enc_hook=self._simplify,
                dec_hook=self._rebuild,
                ext_types=(Cown, PinnedCown),
            )
            self._fast = self._payload.encoder.encode
            self.encode, self.decode = self._encode, self._payload.decoder.decode
        else:
            self._module: Any = import_module(serializer)
            self.encode, self.decode = self._dump, self._load
        self.none: Final = self.encode(None)

    # -- values ------------------------------------------------------------------------

    def _encode(self, value: Any) -> bytes:
        try:
            data = self._fast(value)
        except Exception:  # noqa: BLE001 (again, for a text that helps)
            data = bytes(self._payload.encode(value, "what is to be packed"))
        if len(data) > self._limit:
            raise FrameTooLarge(len(data), self._limit)
        return data

    def _dump(self, value: Any) -> bytes:
        token = ambient.set(self._keeper)
        try:
            data: bytes = self._module.dumps(value)
        finally:
            ambient.reset(token)
        if len(data) > self._limit:
            raise FrameTooLarge(len(data), self._limit)
        return data

    def _load(self, data: bytes) -> Any:
        token = ambient.set(self._keeper)
        try:
            return self._module.loads(data)
        finally:
            ambient.reset(token)

    def _simplify(self, cown: Cown[Any]) -> int:
        number = number_of(cown)
        self._keeper.export(number)
        return number

    def _rebuild(self, kind: type[Cown[Any]], number: int) -> Cown[Any]:
        return self._keeper.handle(kind, number)

    # -- errors ------------------------------------------------------------------------

    def encode_error(self, error: BaseException) -> tuple[int, bytes]:
        """An error, and as what it is packed; never 0."""
        kind, data = self._packer.pack_error(error, self._uid)
        if len(data) > self._limit:
            short = FrameTooLarge(len(data), self._limit)
            kind, data = self._packer.pack_error(short, self._uid)
        return FAILED[kind], data

    def decode_error(self, failed: int, data: bytes) -> BaseException:
        """The error again."""
        return self._packer.unpack_error(_KINDS[failed], data)
