"""`dask` with actors as its scheduler; says so where `dask` is not installed."""

from importlib.util import find_spec

from tractor.futures import Executor


def area(width: int, height: int) -> int:
    """Something to be done for each."""
    return width * height


def main() -> None:
    """Compute a small graph."""
    if find_spec("dask") is None or find_spec("cloudpickle") is None:
        print("needs dask")
        return
    import dask  # type: ignore[import-not-found, unused-ignore]

    # A graph is made of objects of dask, which msgpack does not carry.
    with Executor(2, flavor="processes", serializer="cloudpickle") as pool:
        areas = [dask.delayed(area)(n, n + 1) for n in range(4)]
        print("areas:", dask.delayed(sum)(areas).compute(scheduler=pool))


if __name__ == "__main__":
    main()
