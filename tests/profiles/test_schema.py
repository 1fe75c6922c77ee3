"""Country codes and the snapshot."""

from __future__ import annotations

import numpy as np

from profiles.schema import COUNTRY_CODES, UNKNOWN_COUNTRY, Snapshot


def test_there_are_249_countries_and_unknown():
    assert len(COUNTRY_CODES) == 250
    assert UNKNOWN_COUNTRY in COUNTRY_CODES
    assert all(len(code) == 2 and code.isupper() for code in COUNTRY_CODES)


def test_a_snapshot_is_as_long_as_its_people():
    nothing = np.zeros((2, 0), dtype=np.float32)
    assert len(Snapshot(np.array(["a", "b"]), nothing, nothing, None, np.array(["", ""]))) == 2
