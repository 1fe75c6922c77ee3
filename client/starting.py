"""The texts that a new region folder starts with: a manifest to fill in, and a cautious policy."""

from __future__ import annotations

_MANIFEST = """# What this region's tables are. See docs/reference/manifest.md.
region = "{region}"
controllers = ["example-shop"]
countries = ["DE"]            # ISO 3166 codes of the people in these tables
storage_country = "DE"        # where the rows are stored
data = "personal"
timezone = "UTC"              # of times that carry no zone
currency = "EUR"

[sources]
shop = {{ kind = "parquet", path = "orders.parquet" }}

[tables.orders]               # one row an order
shape = "events"
source = "shop"
event = "Order Completed"
subject = "customer_id"
time = "ordered_at"
value = "total"
country = "country"

[region_rule]
by = "all"

[lawful_basis.retention]
kind = "legitimate_interests"
reference = "name the assessment here"
"""

_POLICY = """# What this region accepts; the centre cannot change it. See docs/reference/policy.md.
purposes = ["retention"]
minimum_subjects = 100
cohort_of_two = true

[budget.train]                # epsilon per data subject and rolling 365 days
epsilon = 3.0
n_max = 10000                 # public upper bound of people; delta = 1 / (10 n_max)

[budget.holdout]
epsilon = 3.0
n_max = 10000
"""


def starting_manifest(region: str) -> str:
    """Returns a manifest that loads and whose source is yet to be filled in."""
    return _MANIFEST.format(region=region)


def starting_policy() -> str:
    """Returns the default policy, spelled out."""
    return _POLICY
