"""What `tractor.context` finds out about a function: its parameters and types."""

import inspect
import typing
from collections.abc import Awaitable, Callable
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Concatenate, Final, overload

from msgspec import Struct

from tractor.msg import ANY, PayloadType

if TYPE_CHECKING:
    from tractor.runtime._context import Context

ATTRIBUTE: Final = "_tractor_endpoint"  # where the decorator leaves its findings


class PayloadTypes(Struct, frozen=True, kw_only=True):
    """How the values of one context cross, as seen from one side.

    Attributes:
        started: The value of `Context.started`.
        inbound: Items that this side receives.
        outbound: Items that this side sends.
        result: What the callee returns.
    """

    started: PayloadType[Any] = ANY
    inbound: PayloadType[Any] = ANY
    outbound: PayloadType[Any] = ANY
    result: PayloadType[Any] = ANY

    def mirrored(self) -> "PayloadTypes":
        """As seen from the other side."""
        return PayloadTypes(
            started=self.started,
            inbound=self.outbound,
            outbound=self.inbound,
            result=self.result,
        )


class Endpoint(Struct, frozen=True):
    """A function decorated with `tractor.context`.

    Attributes:
        ctx_name: Name of the parameter that takes the `Context`.
        ctx_at: Its position; -1 where it is not given by position.
        types: How its values cross, as seen by the function.
    """

    ctx_name: str
    ctx_at: int
    types: PayloadTypes

    def with_context(
        self, ctx: "Context", args: list[Any], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Arguments of a call, which are those of the caller and `ctx`."""
        if 0 <= self.ctx_at <= len(args):
            return [*args[: self.ctx_at], ctx, *args[self.ctx_at :]], kwargs
        return args, {**kwargs, self.ctx_name: ctx}


def endpoint_of(fn: object) -> Endpoint | None:
    """What the decorator found, if the function was decorated."""
    return getattr(fn, ATTRIBUTE, None)


type EndpointFn[**P, S, I, O, R] = Callable[
    Concatenate["Context[S, I, O, Any]", P], Awaitable[R]
]


@overload
def context[F: Callable[..., Awaitable[Any]]](fn: F, /) -> F: ...


@overload
def context[F: Callable[..., Awaitable[Any]]](
    *,
    pld_spec: Any = ...,
    enc_hook: Callable[[Any], Any] | None = None,
    dec_hook: Callable[[type, Any], Any] | None = None,
    ext_types: list[type] | None = None,
) -> Callable[[F], F]: ...


def context(fn: Any = None, /, **options: Any) -> Any:
    """Mark an async function as the far end of a context.

    One of its parameters is annotated with `Context` and receives our end; the others
    are the arguments of `Portal.open_context`. With or without parentheses.

    Types come from the annotations: ``Context[Started, In, Out]`` names those of the
    value given to `started`, of items received and of items sent; the return
    annotation is that of the result.

    Args:
        fn: An async function at the top level of a module.
        **options: ``pld_spec``, one type for every value instead of the annotations,
            and ``enc_hook``, ``dec_hook``, ``ext_types`` for types that msgspec does
            not know (see `tractor.msg.PayloadType`).

    Raises:
        TypeError: It is not an async function, no parameter is annotated with
            `Context`, or a type cannot cross.
    """
    if fn is None:
        return lambda decorated: _decorate(decorated, **options)
    return _decorate(fn, **options)


_UNSET: Final = object()


def _decorate(fn: Any, *, pld_spec: Any = _UNSET, **hooks: Any) -> Any:
    if not inspect.iscoroutinefunction(fn):
        msg = f"@tractor.context needs an async function, not {fn!r}"
        raise TypeError(msg)
    signature = inspect.signature(fn, eval_str=True)
    found = _find_context(signature)
    if found is None:
        msg = (
            f"@tractor.context: no parameter of {fn.__qualname__}() is annotated with "
            "tractor.Context; write `ctx: tractor.Context`"
        )
        raise TypeError(msg)
    name, annotation = found
    if pld_spec is not _UNSET:
        specs = (pld_spec,) * 4
    else:
        specs = (*_specs_in(annotation), _result_spec(signature))
    started, inbound, outbound, result = (_payload_type(s, hooks) for s in specs)
    types = PayloadTypes(
        started=started, inbound=inbound, outbound=outbound, result=result
    )
    by_position = signature.parameters[name].kind is not Parameter.KEYWORD_ONLY
    at = [*signature.parameters].index(name) if by_position else -1
    setattr(fn, ATTRIBUTE, Endpoint(name, at, types))
    return fn


def _find_context(signature: inspect.Signature) -> tuple[str, Any] | None:
    for name, parameter in signature.parameters.items():
        candidates = typing.get_args(parameter.annotation) or ()
        for annotation in (parameter.annotation, *candidates):
            if _is_context(typing.get_origin(annotation) or annotation):
                return name, annotation
    return None


def _is_context(annotation: Any) -> bool:
    from tractor.runtime._context import Context

    return isinstance(annotation, type) and issubclass(annotation, Context)


def _specs_in(annotation: Any) -> tuple[Any, Any, Any]:
    """Started, In, Out of ``Context[Started, In, Out]``; `Any` for what is left."""
    given = typing.get_args(annotation)
    started, inbound, outbound = (*given, Any, Any, Any)[:3]
    return started, inbound, outbound


def _result_spec(signature: inspect.Signature) -> Any:
    annotation = signature.return_annotation
    nothing = (inspect.Signature.empty, typing.NoReturn, typing.Never)
    return Any if annotation in nothing else annotation


def _payload_type(spec: Any, hooks: dict[str, Any]) -> PayloadType[Any]:
    if spec is Any and not any(hooks.values()):
        return ANY
    return PayloadType(spec, **hooks)
