"""Channels, and the transports below them."""

from tractor.ipc._channel import Channel as Channel
from tractor.ipc._pair import BlockingLink as BlockingLink
from tractor.ipc._pair import make_pair as make_pair
from tractor.ipc._transport import SocketTransport as SocketTransport
from tractor.ipc._transport import Transport as Transport
