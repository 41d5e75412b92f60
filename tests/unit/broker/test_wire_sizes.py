"""What headers may take: no frame that is larger than was negotiated is ever written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame

from taskqueue.broker.wire import HeadersTooLarge, to_properties
from taskqueue.task.message import Message, Publish

FRAMES = (4096, 8192, 131_072)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
LONG = st.builds(lambda each, count: each * count, st.sampled_from(("é", "x", "😀")), st.integers(0, 9000))
PLAIN = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | TEXT | LONG
VALUES: st.SearchStrategy[Any] = st.recursive(
    PLAIN | st.binary(max_size=9) | st.just(datetime(2026, 1, 1, tzinfo=UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(
    headers=st.dictionaries(TEXT, VALUES, max_size=6),
    frame_max=st.sampled_from(FRAMES),
    hops=st.integers(1, 8),
)
def test_what_is_written_fits_and_what_does_not_is_refused(
    headers: dict[str, Any], frame_max: int, hops: int
) -> None:
    """Whatever the values are, and however they are counted."""
    publish = Publish(
        "q.wait", tuple("10s>0.3s" for _ in range(hops)), Message(b"", headers, {"message_id": "m" * 255})
    )

    def size(most: int) -> int:
        return len(frame.Header(1, 0, to_properties(publish, most)).marshal())

    whole = size(2**31 - 1)
    if whole > frame_max:
        with pytest.raises(HeadersTooLarge, match="frame_max"):
            size(frame_max)
    else:
        assert size(frame_max) == whole
