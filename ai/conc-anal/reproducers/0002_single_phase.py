"""A single-phase module that CPython loads into a sub-interpreter; see 0002."""

import _interpreters
import gc
import sys
import threading

IN_THE_OTHER = """
import os, shutil, sys, tempfile
from importlib.machinery import ExtensionFileLoader, PathFinder
from importlib.util import _incompatible_extension_module_restrictions

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "msgspec._core":
            return None
        spec = PathFinder.find_spec(name, path)
        number, copy = tempfile.mkstemp(suffix=".so")
        os.close(number)
        shutil.copyfile(spec.origin, copy)
        spec.origin, spec.loader = copy, Loader(name, copy)
        return spec

class Loader(ExtensionFileLoader):
    def create_module(self, spec):
        with _incompatible_extension_module_restrictions(disable_check=True):
            return super().create_module(spec)

sys.path[:] = {path!r}
sys.meta_path.insert(0, Finder)
import msgspec
for _ in range(20_000):
    msgspec.json.decode(b'[{{"some": "short", "strings": 1}}]')
"""


def in_the_other() -> None:
    """Decode in an interpreter with its own GIL and its own copy of the library."""
    config = _interpreters.new_config("isolated", allow_daemon_threads=True)
    number = _interpreters.create(config, reqrefs=False)
    failure = _interpreters.exec(number, IN_THE_OTHER.format(path=sys.path))
    print(failure.errdisplay if failure else "decoded", flush=True)


thread = threading.Thread(target=in_the_other)
thread.start()
while thread.is_alive():
    gc.collect()
print("no harm done")
