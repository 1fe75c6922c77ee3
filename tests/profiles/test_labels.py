"""Label rules over aggregates."""

from __future__ import annotations

import numpy as np

from profiles.labels import EventLabel, Totals, Window, label_matrix, one_class, windows_of

QUARTER = Window("Order Completed", 90)


def test_each_rule_reads_its_window():
    labels = [
        EventLabel("no_event", QUARTER),
        EventLabel("event", QUARTER),
        EventLabel("sum_at_least", QUARTER, 50.0),
    ]
    totals = {QUARTER: Totals(np.array([0, 1, 2]), np.array([0.0, 49.99, 50.0]))}
    assert label_matrix(labels, totals).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_tasks_share_a_window():
    labels = [EventLabel("event", QUARTER), EventLabel("no_event", QUARTER)]
    assert windows_of(labels) == (QUARTER,)


def test_columns_of_a_single_class_are_counted():
    labels = np.array([[0, 1, 1], [1, 1, 1]], dtype=np.float32)
    assert one_class(labels) == 2
    assert one_class(labels[:0]) == 3
