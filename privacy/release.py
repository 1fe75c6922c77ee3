"""What may come in and what concerns people and may go out: a closed set.

Requests: hello, analyse, train, evaluate, close. The one answer that concerns people is a `Release`: words
(clipped, noised, on a grid, sealed) and a receipt of public parameters. Every model is frozen and refuses
unknown fields; `privacy/messages.py` turns them into bytes. Notices about the system are in
`privacy/centre_notices.py`. Nothing here carries text, a count of people or a value from a row.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt

from foundation.toml_file import Settings
from privacy.plan import PROTOCOL

Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
RegionName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Index = Annotated[StrictInt, Field(ge=0, le=1_000_000)]
DecimalText = Annotated[str, Field(pattern=r"^[0-9.e+-]{1,24}$")]


class Addressed(Settings):
    """Every request names protocol, run and plan."""

    protocol: Literal[1] = PROTOCOL
    run: RunId
    plan: Hex64


class Slotted(Addressed):
    """A request that is answered with a release; one content per slot, for ever.

    The slot is (run, round, step, attempt, kind); the cohort is the regions of the attempt, sorted.
    """

    round: Index
    step: Index = 0
    attempt: Index
    cohort: Annotated[tuple[RegionName, ...], Field(min_length=2, max_length=1000)]


class Hello(Addressed):
    """Asks whether the region takes part; reserves the plan's worst case."""

    kind: Literal["hello"] = "hello"


class HistogramQuery(Settings):
    """Per numeric input a histogram over `bins` equal public bins; one-hot rows joined into one vector."""

    kind: Literal["histograms"] = "histograms"
    bins: Annotated[StrictInt, Field(ge=4, le=256)]


class Analyse(Slotted):
    """A list of bounded-sum queries, answered in one vector by one charge."""

    kind: Literal["analyse"] = "analyse"
    queries: Annotated[tuple[HistogramQuery, ...], Field(min_length=1, max_length=1)]


class Train(Slotted):
    """Local steps from the model in the blob; answered with the weighted model difference."""

    kind: Literal["train"] = "train"


class Evaluate(Slotted):
    """Score histograms of hold-out people under the model in the blob."""

    kind: Literal["evaluate"] = "evaluate"


class Close(Addressed):
    """Ends the run in the region and frees what is left of the reservation."""

    kind: Literal["close"] = "close"
    outcome: Literal["finished", "failed"]


class ReceiptCharge(Settings):
    """A charge as the receipt tells it; numbers as decimal strings."""

    population: Literal["train", "holdout"]
    noise_multiplier: DecimalText
    sampling_rate: DecimalText
    count: Annotated[StrictInt, Field(ge=1)]


class Receipt(Settings):
    """The travelling receipt: public parameters, charges and digests, signed by the region's identity.

    `regional` is SHA-256(32 fresh random bytes | regional receipt): it binds the receipt that stays at home
    without telling whether two are equal.
    """

    region: RegionName
    run: RunId
    plan: Hex64
    request: Hex64
    kind: Literal["analyse", "train", "evaluate"]
    unit: Literal["data subject"] = "data subject"
    relation: Literal["add or remove one"] = "add or remove one"
    charges: tuple[ReceiptCharge, ...]
    charged_as: Literal["masks broken"] = "masks broken"
    sealing: Literal["none", "pairwise"]
    isolation: Literal["in process", "network namespace"]
    words: Hex64
    regional: Hex64


class Release(Settings):
    """A sealed vector (in the blob) and its receipt."""

    kind: Literal["release"] = "release"
    receipt: Receipt
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
