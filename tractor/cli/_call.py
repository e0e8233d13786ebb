"""`call`: a function of a running actor, called from outside.

The command is a root of its own for a moment, which knows the secret of the tree: it
asks the tree's registrar for the actor, and calls it as any other actor would.
"""

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from tractor._exceptions import (
    ActorUnreachable,
    ModuleNotExposed,
    RegistrarUnavailable,
    RemoteActorError,
    TractorError,
)
from tractor._root import open_root_actor
from tractor._types import Aid
from tractor.cli._codes import DONE, RAISED, SILENT, USAGE, CommandError
from tractor.cli._look import UUID_PART, print_json
from tractor.cli._running import SECRET, choose_tree
from tractor.devx import printable
from tractor.discovery import NetworkOptions, find_actor, get_registry, verbs
from tractor.ipc import Address, UnixAddress, parse_address
from tractor.ipc.network import Secret, read_secret_file
from tractor.runtime import Portal

NAME: Final = "python -m tractor"  # of this root, as the called ones see it


class Call(msgspec.Struct, frozen=True):
    """What is to be called.

    Attributes:
        actor: Which one, as on the command line.
        ns: Module of the function.
        name: Of the function.
        kwargs: Its arguments.
    """

    actor: str
    ns: str
    name: str
    kwargs: dict[str, Any]


def call(args: argparse.Namespace) -> int:
    """Call it and show what it returns; an exit code."""
    if not args.timeout > 0:
        msg = f"--timeout must be > 0 seconds, not {args.timeout!r}"
        raise CommandError(msg, USAGE)
    what = Call(args.actor, args.ns, args.fn, _arguments(args.arguments))
    try:
        addresses, secret = _where(args)
        value = trio.run(_call_within, args.timeout, what, addresses, secret)
    except RemoteActorError as exc:
        raise _of_the_function(what, exc) from exc
    except trio.TooSlowError as exc:
        msg = f"{what.actor!r} has not answered within {args.timeout:g} s"
        raise CommandError(msg, SILENT) from exc
    except (ActorUnreachable, RegistrarUnavailable) as exc:
        raise CommandError(str(exc), SILENT) from exc
    except (TractorError, ValueError) as exc:
        raise CommandError(str(exc)) from exc
    _show(value, as_json=args.json)
    return DONE


def _arguments(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (equals and key.isidentifier()) or key in found:
            msg = f"an argument is NAME=VALUE, each once, and not {word!r}"
            raise CommandError(msg, USAGE)
        try:
            found[key] = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError):
            found[key] = text
    return found


def _where(args: argparse.Namespace) -> tuple[list[Address], Secret]:
    """Where the registrar may listen, and the secret of its tree."""
    if args.addr is None:
        tree = choose_tree(args.tree)
        if not (addresses := tree.addresses()):
            msg = f"nobody listens in {tree.folder}; give --addr"
            raise CommandError(msg)
        return addresses, tree.secret()
    try:
        address = parse_address(args.addr)
    except ValueError as exc:
        raise CommandError(str(exc), USAGE) from exc
    if isinstance(address, UnixAddress):
        beside = Path(address.path).with_name(SECRET)
        if os.path.lexists(beside):
            return [address], read_secret_file(beside)
    options = NetworkOptions.checked(
        registry_addrs=[address], enable_transports=[address.transport]
    )
    return [address], options.choose_secret()


async def _call_within(
    seconds: float, what: Call, addresses: list[Address], secret: Secret
) -> Any:
    with trio.fail_after(seconds) if seconds < math.inf else trio.CancelScope():
        async with open_root_actor(
            name=NAME,
            secret=secret.reveal(),
            enable_transports=["uds"],
            enable_stack_on_sig=False,
        ):
            return await _call(what, addresses)


async def _call(what: Call, addresses: list[Address]) -> Any:
    address, members = await _ask_who_is_there(addresses)
    aid = _only_one(members, what.actor)
    async with find_actor(
        aid.name, [address], only_first=False, raise_on_none=True
    ) as portals:
        for portal in portals:
            if portal.aid.uid == aid.uid:
                return await portal.run_from_ns(what.ns, what.name, **what.kwargs)
    msg = f"actor {aid.reprol()!r} has ended"
    raise CommandError(msg)


async def _ask_who_is_there(addresses: list[Address]) -> tuple[Address, list[Aid]]:
    """The first of these that is a registrar's, and who is registered there."""
    problem: RegistrarUnavailable | None = None
    for address in addresses:
        try:
            async with get_registry(address) as registry:
                assert isinstance(registry, Portal)  # it is another actor's
                return address, await registry.run(verbs.names)
        except RegistrarUnavailable as exc:
            problem = problem or exc
    assert problem is not None
    raise problem


def _only_one(members: list[Aid], text: str) -> Aid:
    found = [
        aid
        for aid in members
        if text in (aid.name, str(aid.pid), aid.reprol())
        or (len(text) >= UUID_PART and aid.uuid.startswith(text))
    ]
    if not found:
        names = ", ".join(sorted(aid.reprol() for aid in members))
        msg = f"there is no actor {text!r}; there are {names}"
        raise CommandError(msg)
    if len(found) > 1:
        names = ", ".join(f"{aid.reprol()} {aid.uuid[:8]}" for aid in found)
        msg = f"{text!r} may be any of {names}"
        raise CommandError(msg, USAGE)
    return found[0]


def _of_the_function(what: Call, exc: RemoteActorError) -> CommandError:
    """What went wrong over there, of which its traceback is shown."""
    if exc.boxed_type is ModuleNotExposed:
        return CommandError(exc.message)
    print(exc.tb_str.rstrip(), file=sys.stderr)
    return CommandError(printable(str(exc)), RAISED)


def _show(value: Any, *, as_json: bool) -> None:
    """Text as it is, and all else as JSON, or as Python has it if it cannot be."""
    if isinstance(value, str) and not as_json:
        print(value)
    elif value is not None or as_json:
        try:
            print_json(value)
        except (TypeError, ValueError):  # a key that is no text
            print_json(repr(value))
