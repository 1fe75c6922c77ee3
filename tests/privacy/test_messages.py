"""A frame is exactly one message, or it is refused with one error that tells nothing."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import ReleaseInconsistent, RequestUnknown
from privacy import messages
from privacy.centre_notices import Closed, Refused, Unavailable, Welcome
from privacy.messages import read_answer, read_request, to_bytes
from privacy.release import (
    Analyse,
    Close,
    Evaluate,
    Hello,
    HistogramQuery,
    Receipt,
    ReceiptCharge,
    Release,
    Train,
)

GOLDEN = Path(__file__).parents[1] / "golden"
FRAMES = {
    name: bytes.fromhex(frame)
    for name, frame in json.loads((GOLDEN / "messages.json").read_text(encoding="utf-8")).items()
}
ASKS = ("hello", "analyse", "train", "evaluate", "close")
ANSWERS = ("welcome", "release", "closed", "refused", "unavailable")
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
RUNS = st.text("0123456789abcdef", min_size=32, max_size=32)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
DECIMALS = st.from_regex(r"[0-9.e+-]{1,24}", fullmatch=True)
INDICES = st.integers(0, 1_000_000)
SLOT = {"run": RUNS, "plan": HEX, "round": INDICES, "step": INDICES, "attempt": INDICES,
        "cohort": st.lists(NAMES, min_size=2, max_size=4).map(tuple)}  # fmt: skip
REQUESTS = st.one_of(
    st.builds(Hello, run=RUNS, plan=HEX),
    st.builds(Analyse, **SLOT, queries=st.integers(4, 256).map(lambda bins: (HistogramQuery(bins=bins),))),
    st.builds(Train, **SLOT),
    st.builds(Evaluate, **SLOT),
    st.builds(Close, run=RUNS, plan=HEX, outcome=st.sampled_from(["finished", "failed"])),
)
CHARGES = st.builds(
    ReceiptCharge, population=st.sampled_from(["train", "holdout"]), noise_multiplier=DECIMALS,
    sampling_rate=DECIMALS, count=st.integers(1, 10**9),
)  # fmt: skip
RECEIPTS = st.builds(
    Receipt, region=NAMES, run=RUNS, plan=HEX, request=HEX,
    kind=st.sampled_from(["analyse", "train", "evaluate"]),
    charges=st.lists(CHARGES, max_size=2).map(tuple),
    sealing=st.sampled_from(["none", "pairwise"]),
    isolation=st.sampled_from(["in process", "network namespace"]), words=HEX, regional=HEX,
)  # fmt: skip
REPLIES = st.one_of(
    st.builds(Welcome, region=NAMES, identity=HEX, policy=HEX,
              budget_left=st.dictionaries(st.sampled_from(["train", "holdout"]), DECIMALS)),
    st.builds(Release, receipt=RECEIPTS, signature=st.tuples(HEX, HEX).map("".join)),
    st.just(Closed()),
    st.builds(Refused, code=st.from_regex(r"FP-[0-9]{3}", fullmatch=True)),
    st.just(Unavailable()),
)  # fmt: skip


@given(REQUESTS, st.binary(max_size=64))
def test_a_request_comes_back_with_its_blob_and_digest(request_, blob):
    frame = to_bytes(request_, blob)
    asked = read_request(frame)
    assert (asked.request, asked.blob) == (request_, blob)
    assert asked.digest == hashlib.sha256(frame).hexdigest()
    assert to_bytes(asked.request, asked.blob) == frame


@given(REPLIES, st.binary(max_size=64))
def test_an_answer_comes_back_with_its_blob(answer, blob):
    frame = to_bytes(answer, blob)
    answered = read_answer(frame)
    assert (answered.answer, answered.blob) == (answer, blob)
    assert to_bytes(answered.answer, answered.blob) == frame


@pytest.mark.parametrize("name", ASKS + ANSWERS)
def test_golden_frames(name):
    sys.path.insert(0, str(GOLDEN))
    try:
        from rebuild import MESSAGES
    finally:
        sys.path.remove(str(GOLDEN))
    header, blob = MESSAGES[name]
    assert to_bytes(header, blob) == FRAMES[name]
    read = read_request(FRAMES[name]).request if name in ASKS else read_answer(FRAMES[name]).answer
    assert read == header


def test_there_is_a_golden_frame_of_each_kind():
    assert sorted(FRAMES) == sorted(ASKS + ANSWERS)


def understood_or_refused(frame):
    """Reads frame both ways; whatever is understood says the same bytes again."""
    for read, refusal in ((read_request, RequestUnknown), (read_answer, ReleaseInconsistent)):
        try:
            found = read(frame)
        except refusal:
            continue
        header = found.request if read is read_request else found.answer
        assert to_bytes(header, found.blob) == frame


@pytest.mark.parametrize("name", ASKS + ANSWERS)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255))
@settings(max_examples=60)
def test_a_changed_byte_is_another_message_or_refused(name, place, byte):
    frame = bytearray(FRAMES[name])
    frame[int(place * len(frame))] ^= byte
    understood_or_refused(bytes(frame))


@pytest.mark.parametrize("name", ASKS + ANSWERS)
@given(start=st.floats(0, 1), length=st.integers(0, 12), put=st.binary(max_size=12))
@settings(max_examples=60)
def test_a_frame_cut_or_spliced_is_another_message_or_refused(name, start, length, put):
    frame = FRAMES[name]
    place = int(start * len(frame))
    understood_or_refused(frame[:place] + put + frame[place + length :])


@given(st.binary(max_size=200))
def test_noise_is_refused(content):
    understood_or_refused(content)


def framed(text, blob=b""):
    content = text if isinstance(text, bytes) else text.encode()
    return len(content).to_bytes(4, "big") + content + blob


HELLO = f'{{"kind":"hello","plan":"{"0" * 64}","protocol":1,"run":"{"0" * 32}"}}'


def test_the_plainest_request_is_understood():
    assert read_request(framed(HELLO)).request == Hello(run="0" * 32, plan="0" * 64)


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "1", '"x"', "{}", HELLO + " ", " " + HELLO, HELLO.replace(":", ": "), HELLO[:-1],
        HELLO.replace('"hello"', '"goodbye"'), HELLO.replace('"kind":"hello",', ""),
        HELLO.replace("{", '{"kind":"hello",', 1), HELLO.replace('"protocol":1', '"protocol":2'),
        HELLO.replace("}", ',"x":1}'),
        HELLO.replace('{"kind":"hello","plan"', '{"plan"').replace("}", ',"kind":"hello"}'),
        HELLO.replace("hello", "h\\u0065llo"), HELLO.replace("0" * 64, "0" * 63 + "\\n"),
        b"\xef\xbb\xbf" + HELLO.encode(),
        HELLO.encode("utf-16"), b"\xff", '{"a":"\\ud800"}', '{"a":' + "9" * 5000 + "}",
        HELLO.replace('"protocol":1', '"protocol":1.0'), '{"x":1.5}', '{"x":1e5}', '{"x":NaN}',
        HELLO.replace('"run"', '"rün"'), '{"é":1}', '{"a":' + "[" * 30_000 + "]" * 30_000 + "}",
        '{"kind":' + "[" * 60_000 + "]}", HELLO.replace('"protocol":1', '"protocol":true'),
        HELLO.replace('"protocol":1,', ""),
    ],
    ids=lambda each: str(each)[:30],
)  # fmt: skip
def test_what_is_not_canonical_or_not_of_the_set_is_refused(text):
    with pytest.raises(RequestUnknown):
        read_request(framed(text))
    with pytest.raises(ReleaseInconsistent):
        read_answer(framed(text))


def test_every_field_is_said_even_where_it_has_one_value():
    fields = json.loads(FRAMES["train"][4 : 4 + int.from_bytes(FRAMES["train"][:4], "big")])
    for name in fields:
        left = {each: value for each, value in fields.items() if each != name}
        with pytest.raises(RequestUnknown):
            read_request(framed(json.dumps(left, sort_keys=True, separators=(",", ":"))))


@pytest.mark.parametrize("code", ["FP-\u0663\u0660\u0667", "FP-1", "FP-3071", "307"])
def test_a_code_is_three_ascii_digits(code):
    with pytest.raises(ReleaseInconsistent):
        read_answer(framed(f'{{"code":"{code}","kind":"refused"}}'))


@pytest.mark.parametrize(
    "frame", [b"", b"\0", b"\0\0\0\0", b"\0\0\0\0{}", b"\xff\xff\xff\xff{}", framed(HELLO)[:-1]]
)
def test_lengths_that_do_not_fit_are_refused(frame):
    with pytest.raises(RequestUnknown):
        read_request(frame)
    with pytest.raises(ReleaseInconsistent):
        read_answer(frame)


def test_an_answer_is_no_request_and_a_request_no_answer():
    for name in ASKS:
        with pytest.raises(ReleaseInconsistent):
            read_answer(FRAMES[name])
    for name in ANSWERS:
        with pytest.raises(RequestUnknown):
            read_request(FRAMES[name])


def test_sizes_have_limits(monkeypatch):
    monkeypatch.setattr(messages, "MOST_BLOB_BYTES", 8)
    read_request(framed(HELLO, bytes(8)))
    with pytest.raises(RequestUnknown):
        read_request(framed(HELLO, bytes(9)))
    with pytest.raises(RequestUnknown):
        read_request(framed('{"a":"' + "x" * messages.MOST_HEADER_BYTES + '"}'))


def test_a_refusal_tells_nothing_of_the_frame():
    with pytest.raises(RequestUnknown) as refusal:
        read_request(framed('{"kind":"alice@example.org"}'))
    assert "alice" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__
