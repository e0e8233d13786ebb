"""The end of a process in which a sub-interpreter computes; see 0004."""

import _interpreters
import threading
import time

BUSY = """
def compute():
    return [number for number in range(100)]
while True:
    compute()
"""

config = _interpreters.new_config("isolated", allow_daemon_threads=True)
number = _interpreters.create(config, reqrefs=False)
threading.Thread(target=_interpreters.exec, args=(number, BUSY), daemon=True).start()
while not _interpreters.is_running(number):
    time.sleep(0.01)
time.sleep(0.1)
print("the end", flush=True)
