"""Limits on requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.types import Message

from acestep_flows.api.http.limits import ByteBudget, HostCheck, TokenBucket, check_content_length, limit_body
from acestep_flows.errors import InputError, TooLarge
from tests.api.door import Door


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    rate=st.floats(0.01, 100),
    size=st.floats(1, 100),
    pauses=st.lists(st.floats(0, 10), max_size=200),
)
def test_a_bucket_never_gives_more_than_its_rate_and_size(rate: float, size: float, pauses: list[float]) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, size, clock)
    taken = 0
    for pause in pauses:
        clock.now += pause
        taken += bucket.take() == 0
    assert taken <= size + rate * clock.now + 1e-6


@given(rate=st.floats(0.01, 100), size=st.floats(1, 10))
def test_a_token_is_there_after_the_returned_wait(rate: float, size: float) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, size, clock)
    for _ in range(20):
        if wait := bucket.take():
            clock.now += wait + 1e-9
            assert bucket.take() == 0


def receive_from(parts: Iterable[bytes]) -> Any:
    messages = iter([{"type": "http.request", "body": part, "more_body": True} for part in parts])

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    return receive


def test_budget_is_reserved_in_order_and_never_exceeded() -> None:
    async def all_of_them() -> None:
        budget, taken, order = ByteBudget(10), 0, []

        async def take(needed: int) -> None:
            nonlocal taken
            async with budget.reserve(needed):
                order.append(needed)
                taken += min(needed, 10)
                assert taken <= 10
                await asyncio.sleep(0)
                taken -= min(needed, 10)

        sizes = [4, 5, 9, 1, 1, 30, 2, 8, 3]
        async with asyncio.timeout(5):
            await asyncio.gather(*map(take, sizes))
        assert order == sizes

    asyncio.run(all_of_them())


def test_a_cancelled_reservation_frees_the_budget() -> None:
    async def give_up() -> None:
        budget = ByteBudget(1)
        async with budget.reserve(1):
            waiting = asyncio.create_task(budget.reserve(1).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with asyncio.timeout(5), budget.reserve(1):
            pass

    asyncio.run(give_up())


@given(parts=st.lists(st.binary(max_size=50), max_size=20), limit=st.integers(0, 300))
def test_a_body_is_cut_off_at_its_limit(parts: list[bytes], limit: int) -> None:
    async def read() -> int:
        receive = limit_body(receive_from(parts), limit)
        got = 0
        while (message := await receive())["type"] == "http.request":
            got += len(message["body"])
        return got

    total = sum(map(len, parts))
    if total <= limit:
        assert asyncio.run(read()) == total
    else:
        with pytest.raises(HTTPException) as caught:
            asyncio.run(read())
        assert caught.value.status_code == 413


def test_a_declared_length_is_believed_when_it_is_too_large() -> None:
    check_content_length(None, 5)
    check_content_length(b"5", 5)
    with pytest.raises(TooLarge):
        check_content_length(b"6", 5)
    for nonsense in (b"-1", b"x", b"1e3", b"9" * 30, b""):
        with pytest.raises(InputError):
            check_content_length(nonsense, 5)


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:8777", 200), ("[::1]:80", 200), ("[::1]", 200), ("LOCALHOST:1", 200),
     ("evil.example", 422), ("localhost.evil.example", 422), ("", 422), ("127.0.0.1.evil.example:80", 422)],
)  # fmt: skip
def test_without_keys_only_loopback_names_are_answered(door: Door, host: str, status: int) -> None:
    response = door.client.get("/healthz", headers={"Host": host})
    assert response.status_code == status


def test_a_host_check_leaves_other_protocols_alone() -> None:
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    asyncio.run(HostCheck(app, ["a"])({"type": "lifespan"}, receive_from([]), receive_from([])))
    assert passed == ["lifespan"]
