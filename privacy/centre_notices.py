"""What concerns the system and may go out: a closed set of statements of enums, hashes and public integers.

Never a count of people, never a digest or a size that reveals one. A data-dependent refusal has one form,
`Unavailable`; its reason stays in the region.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from foundation.toml_file import Settings
from privacy.release import DecimalText, Hex64, RegionName


class Welcome(Settings):
    """The answer to hello: identity, policy digest, and the budget left per population (epsilon)."""

    kind: Literal["welcome"] = "welcome"
    region: RegionName
    identity: Hex64
    policy: Hex64
    budget_left: dict[Literal["train", "holdout"], DecimalText]


class Closed(Settings):
    """The run is closed in the region."""

    kind: Literal["closed"] = "closed"


class Refused(Settings):
    """A refusal that depends on settings, requests and the ledger only: a code of `foundation/errors.py`."""

    kind: Literal["refused"] = "refused"
    code: Annotated[str, Field(pattern=r"^FP-[0-9]{3}$")]


class Unavailable(Settings):
    """The region does not answer this; why is its own affair."""

    kind: Literal["unavailable"] = "unavailable"
