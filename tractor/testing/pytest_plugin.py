"""The pytest plugin under its documented name: ``-p tractor.testing.pytest_plugin``.

Where `tractor` is installed pytest has loaded it already, and this changes nothing. The
plugin itself is the module `tractor_pytest`, which is why it costs nothing until it is
used.
"""

pytest_plugins = ["tractor_pytest"]
