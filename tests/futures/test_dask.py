"""`dask` runs on pools: graphs and arrays in one program, and tasks of a cluster.

Where it is not installed nothing of it is tested; it is no dependency of ours.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import pytest

from tests._helpers import ROOT, run_python
from tests.futures import _tasks as do
from tests.futures._tasks import SAFETY
from tractor.futures import Executor, detect_capabilities

dask: Final = pytest.importorskip("dask", reason="dask is not installed")
pytest.importorskip("cloudpickle", reason="dask is not installed")
# Imported here, since it starts threads that stay.
np: Final[Any] = import_module("numpy") if find_spec("numpy") else None

FLAVORS: Final = [
    "threads",
    "processes",
    pytest.param(
        "interpreters",
        marks=pytest.mark.skipif(
            not detect_capabilities().interpreters, reason="needs Python 3.14"
        ),
    ),
]


def pool_for_dask(flavor: str) -> Executor:
    """One that carries what graphs are made of."""
    return Executor(2, flavor=flavor, serializer="cloudpickle")


@pytest.mark.parametrize("flavor", FLAVORS)
def test_e7_delayed_graphs(flavor: str) -> None:
    """Functions of modules and functions of nowhere, and what they depend on."""
    with pool_for_dask(flavor) as executor:
        parts = [dask.delayed(do.add)(n, n) for n in range(4)]
        doubled = dask.delayed(lambda items: [2 * item for item in items])(parts)
        assert dask.delayed(sum)(doubled).compute(scheduler=executor) == 24
        assert executor.progress()["completed"] >= len(parts)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_e7_an_error_of_a_graph(flavor: str) -> None:
    """It is that of the task, and the pool goes on."""
    with pool_for_dask(flavor) as executor:
        with pytest.raises(ValueError, match="on purpose"):
            dask.delayed(do.boom)().compute(scheduler=executor)
        assert dask.delayed(do.add)(1, 2).compute(scheduler=executor) == 3


# In sub-interpreters numpy cannot be imported.
@pytest.mark.skipif(np is None, reason="numpy is not installed")
@pytest.mark.parametrize("flavor", ["threads", "processes"])
def test_e7_arrays(flavor: str) -> None:
    """Sums, products of matrices, and what is made of all chunks."""
    da: Any = import_module("dask.array")
    plain = np.arange(64 * 64, dtype=float).reshape(64, 64) / 64
    chunked = da.from_array(plain, chunks=(16, 16))
    with pool_for_dask(flavor) as executor:

        def compute(lazy: Any) -> Any:
            return lazy.compute(scheduler=executor)

        assert compute(da.ones(1000, chunks=100).sum()) == 1000
        assert np.allclose(compute(chunked @ chunked.T), plain @ plain.T)
        assert np.allclose(compute(chunked.mean(axis=0)), plain.mean(axis=0))
        assert np.isclose(compute(chunked.var()), plain.var())


# -- The plugin of examples/futures_dask_plugin.py -------------------------------------


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, of which the plugin is a part."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("examples.futures_dask_plugin")


def fake_worker() -> Any:
    """What a plugin sees of a worker."""
    other = object()
    return SimpleNamespace(
        name="w", state=SimpleNamespace(nthreads=3), executors={"default": other}
    )


def test_a_worker_gets_a_pool(plugins: ModuleType) -> None:
    """As large as it runs tasks at once, or as was said; and it loses it once."""
    for given, expected in ((None, 3), (1, 1)):
        plugin, worker = plugins.ActorPool("threads", given), fake_worker()
        plugin.setup(worker)
        pool = worker.executors[plugins.POOL]
        assert (pool.max_workers, pool.flavor) == (expected, "threads")
        assert pool.submit(do.add, 1, 2).result(SAFETY) == 3
        for _ in range(2):
            plugin.teardown(worker)
            assert worker.executors.keys() == {"default"}
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(do.nothing)
        pool.shutdown()


def test_who_ends_does_not_wait_for_what_is_stuck(
    plugins: ModuleType, tmp_path: Path
) -> None:
    """It ends when that is cancelled."""
    plugin, worker = plugins.ActorPool("processes", 1), fake_worker()
    plugin.setup(worker)
    pool = worker.executors[plugins.POOL]
    stuck = pool.submit(do.touch_and_block, str(tmp_path / "begun"))
    do.until(tmp_path / "begun")
    plugin.teardown(worker)
    assert not stuck.done()
    assert stuck.cancel()
    pool.shutdown()


CLUSTER: Final = """
import os
import sys
from pathlib import Path

import dask
from distributed import Client, LocalCluster

from examples.futures_dask_plugin import POOL, ActorPool, square
from tests.futures import _tasks as do


def has_pool(dask_worker):
    return POOL in dask_worker.executors


if __name__ == "__main__":
    options = {"processes": False, "dashboard_address": None}
    with LocalCluster(int(sys.argv[1]), 1, **options) as made, Client(made) as client:
        client.register_plugin(ActorPool())
        client.register_plugin(ActorPool())  # the second one is as good as none
        assert all(client.run(has_pool).values())
        with dask.annotate(executor=POOL):
            found = client.gather(client.map(square, range(10)))
        assert [number for number, _ in found] == [n * n for n in range(10)]
        assert os.getpid() not in {pid for _, pid in found}
        assert client.submit(os.getpid).result() == os.getpid()
        client.unregister_worker_plugin(POOL)
        assert not any(client.run(has_pool).values())
        client.register_plugin(ActorPool())
        with dask.annotate(executor=POOL):
            stuck = client.submit(do.touch_and_block, sys.argv[2])
        do.until(Path(sys.argv[2]))
    print("over")
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cluster_runs_what_is_annotated_in_pools(
    plugins: ModuleType, workers: int, start_method: str, tmp_path: Path
) -> None:
    """Also of several workers in one process; other tasks stay where they were.

    The end of the cluster ends what is stuck in a pool.
    """
    del plugins  # only has to be there
    begun = tmp_path / "begun"
    done = run_python(start_method, "-c", CLUSTER, str(workers), begun)
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr
