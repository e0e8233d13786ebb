"""A cluster of `dask` whose workers hand tasks to actors; needs `distributed`.

A plugin gives each worker of the cluster a pool, which has a name there. Tasks that are
annotated with that name run in the pool, and all others where they always did.
"""

import os
from typing import Any

from tractor.futures import Executor

try:
    import dask  # type: ignore[import-not-found, unused-ignore]
    from distributed import (  # type: ignore[import-not-found, unused-ignore]
        Client,
        LocalCluster,
        WorkerPlugin,
    )
except ImportError:
    WorkerPlugin = object  # type: ignore[assignment, misc, unused-ignore]
    MISSING = True
else:
    MISSING = False

POOL = "actors"


class ActorPool(WorkerPlugin):  # type: ignore[misc, unused-ignore]
    """Gives each worker a pool of actors, for tasks annotated ``executor="actors"``.

    Args:
        flavor: Of the pools; see `Executor`.
        workers: In each; by default as many as the worker runs tasks at once.
    """

    name = POOL
    idempotent = True

    def __init__(self, flavor: str = "processes", workers: int | None = None) -> None:
        self.flavor = flavor
        self.workers = workers

    def setup(self, worker: Any) -> None:
        """The worker has started, or the plugin has come to it."""
        worker.executors[POOL] = Executor(
            self.workers or worker.state.nthreads,
            flavor=self.flavor,
            name=f"{POOL} of {worker.name}",
            serializer="cloudpickle",  # tasks of dask are objects of its own
        )

    def teardown(self, worker: Any) -> None:
        """The worker ends; it does not wait for what is stuck in the pool."""
        pool = worker.executors.pop(POOL, None)
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def square(number: int) -> tuple[int, int]:
    """What is to be done for each, and where it was."""
    return number * number, os.getpid()


def main() -> None:
    """Compute on two workers with an actor each."""
    if MISSING:
        print("needs distributed")
        return
    with (
        LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(ActorPool())
        with dask.annotate(executor=POOL):
            found = client.gather(client.map(square, range(20)))
        workers = client.run(os.getpid).values()
    print("squares:", [number for number, _ in found][:5])
    print("in workers of the cluster:", len({pid for _, pid in found} & {*workers}))
    print("in actors:", len({pid for _, pid in found} - {*workers}))


if __name__ == "__main__":
    main()
