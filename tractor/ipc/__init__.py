"""Channels, and the transports below them."""

from tractor.ipc._address import Address as Address
from tractor.ipc._address import AnyAddress as AnyAddress
from tractor.ipc._address import TcpAddress as TcpAddress
from tractor.ipc._address import UnixAddress as UnixAddress
from tractor.ipc._address import by_preference as by_preference
from tractor.ipc._address import parse_address as parse_address
from tractor.ipc._channel import Channel as Channel
from tractor.ipc._pair import BlockingLink as BlockingLink
from tractor.ipc._pair import make_pair as make_pair
from tractor.ipc._transport import READ_SIZE as READ_SIZE
from tractor.ipc._transport import SocketTransport as SocketTransport
from tractor.ipc._transport import Transport as Transport
from tractor.ipc._transport import copy_into as copy_into
