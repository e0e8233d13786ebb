"""Futures made of futures, in a program without a loop."""

import sys

from tractor.futures import Executor, dataflow, progress_bar, when_all


def words_of(text: str) -> list[str]:
    """Lower-case words."""
    return text.lower().split()


def count(words: list[str]) -> dict[str, int]:
    """How often each occurs."""
    return {word: words.count(word) for word in words}


def merge(*counts: dict[str, int]) -> dict[str, int]:
    """All counts in one."""
    total: dict[str, int] = {}
    for each in counts:
        for word, number in each.items():
            total[word] = total.get(word, 0) + number
    return total


def main() -> None:
    """Chain calls without waiting in between."""
    texts = ("The fox and the hound", "The hound sleeps", "A fox runs and runs")
    with Executor(2, flavor="processes", name="words") as pool:
        with progress_bar(pool, file=sys.stdout):
            split = [pool.submit(words_of, text) for text in texts]
            lengths = when_all(*[one.then(lambda f: len(f.result())) for one in split])
            words = [one.result() for one in split]
            counted = [pool.submit(count, each) for each in words]
            total = dataflow(merge, *counted)
            pool.wait_all()
        print("words in each:", lengths.result())
        most = max(total.result().items(), key=lambda item: item[1])
        print("most frequent:", *most)
        print("tasks:", pool.progress()["completed"])


if __name__ == "__main__":
    main()
