"""Questions of many callers go together while the threads are busy, and a lone one goes at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from parecido.search.web.batching import Gatherer

Answer = Callable[[Sequence[int]], Sequence[int | Exception]]


class Held:
    """Doubles numbers; each call waits until it is let go, and notes what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.began = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.calls.append(list(numbers))
        self.began.release()
        self.go.acquire()
        return [2 * number for number in numbers]

    async def begun(self) -> None:
        await asyncio.to_thread(self.began.acquire)


async def asked(gatherer: Gatherer[int, int], numbers: Sequence[int]) -> list[asyncio.Task[int]]:
    """The questions, lined up in this order."""
    tasks = [asyncio.create_task(gatherer.ask(number)) for number in numbers]
    await asyncio.sleep(0)
    return tasks


def test_a_lone_question_goes_at_once_and_what_comes_meanwhile_goes_together() -> None:
    async def run() -> None:
        held, sizes = Held(), []
        gatherer = Gatherer("t", held, most=4, told=sizes.append)
        tasks = await asked(gatherer, [1])
        await held.begun()
        tasks += await asked(gatherer, [2, 3, 4, 5, 6, 7])
        for _ in range(3):
            held.go.release()
        assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10, 12, 14]
        assert held.calls == [[1], [2, 3, 4, 5], [6, 7]]
        assert sizes == [1, 4, 2]
        gatherer.close()

    asyncio.run(run())


def test_only_questions_of_one_kind_go_together_and_none_loses_its_turn() -> None:
    async def run() -> None:
        held = Held()
        gatherer = Gatherer("t", held, kind=lambda number: number % 2)
        tasks = await asked(gatherer, [0])
        await held.begun()
        tasks += await asked(gatherer, [1, 2, 3, 4, 5])
        for _ in range(3):
            held.go.release()
        await asyncio.gather(*tasks)
        assert held.calls == [[0], [1, 3, 5], [2, 4]]
        gatherer.close()

    asyncio.run(run())


def test_a_full_call_goes_before_one_that_is_not_full() -> None:
    async def run() -> None:
        held = Held()
        gatherer = Gatherer("t", held, most=3, kind=lambda number: number // 10)
        tasks = await asked(gatherer, [0])
        await held.begun()
        tasks += await asked(gatherer, [10, 20, 11, 21, 30, 22, 23])
        for _ in range(5):
            held.go.release()
        await asyncio.gather(*tasks)
        assert held.calls == [[0], [20, 21, 22], [10, 11], [30], [23]]
        gatherer.close()

    asyncio.run(run())


def test_nobody_lets_more_than_so_many_full_calls_go_before_out_of_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parecido.search.web.batching._PATIENCE", 3)

    async def run() -> None:
        held = Held()
        gatherer = Gatherer("t", held, most=2, kind=lambda number: number // 10)
        tasks = await asked(gatherer, [0])
        await held.begun()
        tasks += await asked(gatherer, [10, 30, *range(20, 28), 40, 28, 29])
        for _ in range(10):
            held.go.release()
        await asyncio.gather(*tasks)
        full = [[20, 21], [22, 23], [24, 25]]
        assert held.calls == [[0], *full, [10], [30], [26, 27], [40], [28, 29]]
        gatherer.close()

    asyncio.run(run())


def test_a_question_that_was_taken_back_fills_no_call() -> None:
    async def run() -> None:
        held = Held()
        gatherer = Gatherer("t", held, most=2, kind=lambda number: number // 10)
        tasks = await asked(gatherer, [0])
        await held.begun()
        tasks += await asked(gatherer, [10, 20, 21])
        tasks.pop().cancel()
        await asyncio.sleep(0)
        for _ in range(3):
            held.go.release()
        await asyncio.gather(*tasks)
        assert held.calls == [[0], [10], [20]]
        gatherer.close()

    asyncio.run(run())


def test_several_threads_answer_at_the_same_time() -> None:
    async def run() -> None:
        held = Held()
        gatherer = Gatherer("t", held, threads=2, most=1)
        tasks = await asked(gatherer, [1, 2])
        await held.begun()
        await held.begun()
        held.go.release(2)
        assert await asyncio.gather(*tasks) == [2, 4]
        gatherer.close()

    asyncio.run(run())


def test_an_error_reaches_only_who_asked_for_it() -> None:
    def answer(numbers: Sequence[int]) -> Sequence[int | Exception]:
        return [ValueError("odd") if number % 2 else number for number in numbers]

    async def run() -> None:
        gatherer: Gatherer[int, int] = Gatherer("t", answer)
        found = await asyncio.gather(*(gatherer.ask(n) for n in range(4)), return_exceptions=True)
        assert [repr(one) for one in found] == ["0", "ValueError('odd')", "2", "ValueError('odd')"]
        gatherer.close()

    asyncio.run(run())


def test_a_call_that_fails_fails_for_all_of_its_questions_and_the_next_goes_on() -> None:
    calls: list[int] = []

    def answer(numbers: Sequence[int]) -> Sequence[int | Exception]:
        calls.append(len(numbers))
        if len(calls) == 1:
            raise ZeroDivisionError("a defect")
        return list(numbers)

    async def run() -> None:
        gatherer: Gatherer[int, int] = Gatherer("t", answer)
        with pytest.raises(ZeroDivisionError, match="a defect"):
            await gatherer.ask(1)
        assert await gatherer.ask(2) == 2
        gatherer.close()

    asyncio.run(run())


def test_a_question_that_is_taken_back_is_not_answered() -> None:
    async def run() -> None:
        held = Held()
        gatherer = Gatherer("t", held)
        first, second, third = await asked(gatherer, [1]) + await asked(gatherer, [2, 3])
        await held.begun()
        second.cancel()
        held.go.release(2)
        assert await asyncio.gather(first, third) == [2, 6]
        assert held.calls[-1][-1] == 3
        assert all(2 not in call for call in held.calls[1:])
        gatherer.close()

    asyncio.run(run())


def test_closing_answers_what_waits_and_takes_nothing_more() -> None:
    async def run() -> None:
        gatherer: Gatherer[int, int] = Gatherer("t", list)
        tasks = await asked(gatherer, [1, 2])
        await asyncio.to_thread(gatherer.close)
        assert await asyncio.gather(*tasks) == [1, 2]
        with pytest.raises(RuntimeError, match="closed"):
            await gatherer.ask(3)

    asyncio.run(run())
