"""Models by content: what was altered, cut or made elsewhere is not scored with."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from client import model_store
from client.folder import make_folder, open_folder
from client.model_store import Model
from foundation.errors import FolderUnknown, ModelForeign, SourceUnreadable
from privacy.layout import parameter_count, scale_count

RUN = "a" * 32


def model(plan, origin="real", value=0.25):
    scale = np.linspace(0, 1, scale_count(plan)).astype(np.float32)
    return Model(plan, RUN, origin, scale, np.full(parameter_count(plan), value, dtype=np.float32))


@pytest.fixture
def folder(eu_folder):
    with open_folder(eu_folder) as opened:
        yield opened


def served(folder, made):
    model_store.keep(folder, made)
    model_store.serve(folder, made.run)
    return folder.path / "models" / f"{made.name}.safetensors"


def test_a_served_model_comes_back_as_it_was_kept(folder, small):
    made = model(small.plan)
    served(folder, made)
    found = model_store.latest(folder)
    assert (found.name, found.run, found.origin) == (made.name, RUN, "real")
    assert (found.scale == made.scale).all()
    assert (found.parameters == made.parameters).all()
    assert found.plan.digest == small.plan.digest


def test_the_name_is_the_content(small):
    settings = small.plan.model_dump() | {"name": "another"}
    other_plan = type(small.plan).model_validate(settings)
    names = {model(small.plan).name, model(small.plan, value=0.5).name, model(other_plan).name}
    assert len(names) == 3
    assert model(small.plan).name == model(small.plan).name


def test_a_kept_model_is_not_served_before_its_run_finishes(folder, small):
    model_store.keep(folder, model(small.plan))
    with pytest.raises(FolderUnknown):
        model_store.latest(folder)


def test_a_run_that_left_no_model_changes_nothing(folder, small):
    first = model(small.plan)
    served(folder, first)
    model_store.serve(folder, "b" * 32)
    assert model_store.latest(folder).name == first.name


def test_the_newest_finished_run_is_served(folder, small):
    served(folder, model(small.plan))
    newer = replace(model(small.plan, value=0.75), run="b" * 32)
    served(folder, newer)
    assert model_store.latest(folder).run == "b" * 32


@pytest.mark.parametrize(("mine", "theirs"), [("real", "simulation"), ("simulation", "real")])
def test_a_model_of_the_other_kind_is_refused(tmp_path, small, mine, theirs):
    make_folder(
        tmp_path / mine,
        manifest=small.manifest("eu").read_text(),
        policy='purposes = ["retention"]\n',
        origin=mine,
    )
    with open_folder(tmp_path / mine) as folder:
        served(folder, model(small.plan, origin=theirs))
        with pytest.raises(ModelForeign):
            model_store.latest(folder)


def rewritten(path, **changed):
    content = path.read_bytes()
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    path.write_bytes(save(load(content) | changed, metadata=json.loads(header)["__metadata__"]))


def test_other_values_under_the_same_name_are_refused(folder, small):
    path = served(folder, model(small.plan))
    rewritten(path, parameters=np.zeros(parameter_count(small.plan), dtype=np.float32))
    with pytest.raises(SourceUnreadable):
        model_store.latest(folder)


def test_another_plan_under_the_same_name_is_refused(folder, small):
    path = served(folder, model(small.plan))
    content = path.read_bytes()
    assert b'\\"purpose\\":\\"retention\\"' in content
    path.write_bytes(content.replace(b'\\"purpose\\":\\"retention\\"', b'\\"purpose\\":\\"elsewhere\\"'))
    with pytest.raises(SourceUnreadable):
        model_store.latest(folder)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 0.5, 0.99])
def test_a_cut_file_is_refused(folder, small, keep):
    path = served(folder, model(small.plan))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(SourceUnreadable):
        model_store.latest(folder)


def test_a_model_of_the_wrong_size_is_refused(folder, small):
    made = replace(model(small.plan), parameters=np.zeros(1, dtype=np.float32))
    served(folder, made)
    with pytest.raises(SourceUnreadable):
        model_store.latest(folder)


def test_a_missing_file_is_refused(folder, small):
    served(folder, model(small.plan)).unlink()
    with pytest.raises(SourceUnreadable):
        model_store.latest(folder)


def test_an_altered_origin_is_refused(folder, small):
    path = served(folder, model(small.plan, origin="simulation"))
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"origin":"simulation"', b'"origin":"real"      '))
    assert path.read_bytes() != content
    with pytest.raises(SourceUnreadable):
        model_store.latest(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"model": 1}', '{"sha256": "0"}', "\xff"])
def test_an_altered_pointer_is_refused(folder, small, text):
    served(folder, model(small.plan))
    (folder.path / "models" / model_store.LATEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceUnreadable):
        model_store.latest(folder)


def test_errors_about_a_model_do_not_quote_its_values(folder, small):
    path = served(folder, model(small.plan, value=0.3141592))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(SourceUnreadable) as refusal:
        model_store.latest(folder)
    assert "0.314" not in str(refusal.value)
