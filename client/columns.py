"""Columns of an answer of the engine as numpy arrays. Does not query."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.manifest import Manifest
from foundation.errors import CountryUnknown


def integers(column: Any) -> NDArray[np.int64]:
    """Returns an int64 copy of a column without nulls."""
    return np.array(column.to_numpy(), dtype=np.int64)


def texts(column: Any) -> NDArray[np.str_]:
    """Returns a str array of a column without nulls."""
    return np.array(column.to_pylist(), dtype=np.str_)


def stacked(table: Any, prefix: str, count: int) -> NDArray[np.float64]:
    """Returns float64 (n, count) of the columns prefix_0, prefix_1, ...; nan where missing."""
    if count == 0:
        return np.zeros((table.num_rows, 0))
    arrays = [table[f"{prefix}_{place}"].to_numpy() for place in range(count)]
    return np.stack(arrays, axis=1).astype(np.float64)


def countries(table: Any, manifest: Manifest) -> NDArray[np.str_]:
    """Returns each person's country; the region's only one where rows do not say, else "".

    Raises:
        CountryUnknown: more people than the manifest's gates allow are of a country without a code.
    """
    only = manifest.countries[0] if len(manifest.countries) == 1 else ""
    named = table["country"].to_pylist()
    codes = [only if name is None else manifest.country_code(name) for name in named]
    shares = [gates.allowed_shares.get("unknown_country", 0.0) for gates in manifest.gates.values()]
    if codes.count(None) > max(shares, default=0.0) * len(codes):
        raise CountryUnknown(f"people of region {manifest.region} are of a country without a code")
    return np.array(["" if code is None else code for code in codes], dtype=np.str_)
