"""Errors of what lives on the main thread."""

from tractor.msg import reg_err_types


class ResourceClosed(RuntimeError):
    """What the handle stood for is gone; raised by every use of it.

    It was closed, its last handle in the root is gone, or its tree has ended.
    """


reg_err_types([ResourceClosed])
