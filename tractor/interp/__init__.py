"""What runs inside a sub-interpreter, around the actor that it hosts.

`tractor.spawn` makes the interpreters and only names this package by string.
"""

from tractor.interp._copies import PrivateCopies as PrivateCopies
from tractor.interp._host import host as host
from tractor.interp._host import prepare as prepare
from tractor.interp._warden import Warden as Warden
