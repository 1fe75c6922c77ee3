"""The registry: one record and one file per model, newest first, nothing pickled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from safetensors.numpy import load_file

from foundation.errors import SourceUnreadable
from server.evaluation import TaskEvaluation, Told
from server.models import records, register

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
EVALUATIONS = {"leaves": TaskEvaluation(Told(0.7, (0.6, 0.8)), {}, 0.1, ())}


@pytest.fixture
def finished(world):
    return world.go(world.channel(world.regions()))


def test_a_registered_model_is_read_back_with_its_values(tmp_path, world, finished):
    folder = tmp_path / "models"
    record = register(folder, world.plan, finished, EVALUATIONS, origin="simulation", now=NOW)
    assert records(folder) == [record]
    assert (record.state, record.origin, record.run) == ("candidate", "simulation", world.run)
    assert (record.tasks["leaves"].auc, record.tasks["leaves"].interval) == (0.7, (0.6, 0.8))
    assert record.regions == ("eu", "sea", "us")
    kept = load_file(folder / f"{record.name}.safetensors")
    np.testing.assert_array_equal(kept["parameters"], finished.parameters)
    np.testing.assert_array_equal(kept["scale"], finished.scale)


def test_the_newest_model_comes_first_and_other_values_get_another_name(tmp_path, world, finished):
    import dataclasses

    other = dataclasses.replace(finished, parameters=finished.parameters + 1)
    names = [
        register(tmp_path, world.plan, each, {}, origin="real", now=NOW + timedelta(days=day)).name
        for day, each in enumerate((finished, other))
    ]
    assert names[0] != names[1]
    assert [each.name for each in records(tmp_path)] == names[::-1]


def test_a_record_that_is_cut_is_refused(tmp_path, world, finished):
    record = register(tmp_path, world.plan, finished, {}, origin="real", now=NOW)
    path = tmp_path / f"{record.name}.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceUnreadable):
        records(tmp_path)


def test_an_empty_registry_has_no_records(tmp_path):
    assert records(tmp_path) == []
