"""What a region hands to training: one row per data subject, already bounded. And the country codes.

Pure data. Does not read tables (`client/store.py` does) and does not know who may be processed
(`compliance/consent.py` does).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN_COUNTRY = "ZZ"
"""User-assigned ISO 3166 code for "no country known"; a manifest may map names like "Unspecified" to it."""

COUNTRY_CODES: frozenset[str] = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW
    BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI
    FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN
    IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME
    MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF
    PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV
    SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE
    YT ZA ZM ZW
    """.split()  # noqa: SIM905 a list of 249 literals reads worse
) | {UNKNOWN_COUNTRY}
"""ISO 3166-1 alpha-2 codes in use, and `UNKNOWN_COUNTRY`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The active people of a region at one `as_of`; row i of every array is one data subject.

    subjects: str (n,), sorted. numeric: float32 (n, n_numeric) in [0, 1], clamped to public bounds, scaled,
    mapped linearly. onehots: float32 (n, n_categories), 0 or 1. labels: float32 (n, n_tasks), 0 or 1, in
    the order of the plan's tasks, or None where none were asked. countries: str (n,), ISO 3166 or "".
    """

    subjects: NDArray[np.str_]
    numeric: NDArray[np.float32]
    onehots: NDArray[np.float32]
    labels: NDArray[np.float32] | None
    countries: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.subjects)
