"""Finding actors by name, and being found."""

from tractor.discovery._ask import hold_name as hold_name
from tractor.discovery._join import join_tree as join_tree
from tractor.discovery._join import open_network as open_network
from tractor.discovery._local import LocalPortal as LocalPortal
from tractor.discovery._options import NetworkOptions as NetworkOptions
from tractor.discovery._query import find_actor as find_actor
from tractor.discovery._query import get_registry as get_registry
from tractor.discovery._query import query_actor as query_actor
from tractor.discovery._query import wait_for_actor as wait_for_actor
from tractor.discovery._registrar import VERBS as VERBS
from tractor.discovery._registrar import Found as Found
