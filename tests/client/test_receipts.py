"""Receipts: one that travels and is signed, one that stays and can be opened to an auditor."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from client.eligible import People
from client.receipts import NONCE_BYTES, receipted
from foundation import canonical
from foundation.keys import make_keys, signature_holds
from privacy.events import Charge
from privacy.messages import read_answer, read_request, to_bytes
from privacy.release import Train

ASKED = read_request(
    to_bytes(Train(run="a" * 32, plan="b" * 64, round=1, attempt=0, cohort=("eu", "us")), b"\1\2\3\4")
)
WORDS = bytes(range(16))
CHARGE = ("train", Charge("training", 1.5, 0.02, 20))


@pytest.fixture
def keys(tmp_path):
    return make_keys(tmp_path)


def people(*subjects):
    empty = np.zeros((len(subjects), 0), dtype=np.float32)
    names = np.array(subjects, dtype=np.str_)
    return People(names, names, empty, empty, empty, "contract")


def made(keys, who=None, charge=CHARGE):
    who = people("ann", "bob") if who is None else who
    return receipted(ASKED, WORDS, region="eu", keys=keys, people=who, charge=charge, sealing="none")


def test_the_travelling_receipt_holds_under_the_regions_key_and_no_other(keys, tmp_path):
    release = read_answer(made(keys).answer).answer
    body = canonical.encode(release.receipt.model_dump(mode="json"))
    assert signature_holds(keys.public, body, release.signature)
    (tmp_path / "other").mkdir()
    assert not signature_holds(make_keys(tmp_path / "other").public, body, release.signature)
    assert not signature_holds(keys.public, body.replace(b'"eu"', b'"us"'), release.signature)


def test_it_names_request_words_and_charge(keys):
    answered = read_answer(made(keys).answer)
    receipt = answered.answer.receipt
    assert answered.blob == WORDS
    assert (receipt.request, receipt.words) == (ASKED.digest, hashlib.sha256(WORDS).hexdigest())
    told = receipt.charges[0]
    assert (told.population, told.noise_multiplier, told.sampling_rate, told.count) == (
        "train",
        "1.5",
        "0.02",
        20,
    )


def test_the_regional_receipt_opens_its_blinded_digest(keys):
    receipts = made(keys)
    receipt = read_answer(receipts.answer).answer.receipt
    assert hashlib.sha256(receipts.regional).hexdigest() == receipt.regional
    body = json.loads(receipts.regional[NONCE_BYTES:])
    assert (body["request"], body["eligible"], body["basis"]) == (ASKED.digest, 2, "contract")


def test_equal_sets_give_different_digests(keys):
    first, second = (made(keys) for _ in range(2))
    blinded = [read_answer(each.answer).answer.receipt.regional for each in (first, second)]
    sets = [json.loads(each.regional[NONCE_BYTES:])["eligible_set"] for each in (first, second)]
    assert len(set(blinded)) == len(set(sets)) == 2


def test_the_travelling_receipt_is_as_long_for_two_people_as_for_two_thousand(keys):
    many = people(*(f"person-{i}" for i in range(2000)))
    assert len(made(keys).answer) == len(made(keys, many).answer)


def test_no_person_is_named_in_either_receipt(keys):
    receipts = made(keys, people("ann-the-first", "bob-the-second"))
    assert b"ann-the-first" not in receipts.answer + receipts.regional


def test_a_region_that_contributes_nobody_tells_no_charge_and_no_set(keys):
    receipts = receipted(ASKED, WORDS, region="eu", keys=keys, people=None, charge=None, sealing="none")
    body = json.loads(receipts.regional[NONCE_BYTES:])
    assert read_answer(receipts.answer).answer.receipt.charges == ()
    assert (body["eligible"], body["eligible_set"], body["basis"]) == (0, None, None)
