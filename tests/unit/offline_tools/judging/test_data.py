"""What is said where a network is judged on what it was trained on."""

from __future__ import annotations

import pytest

from offline_tools.judging.data import seen_in_training

SPLIT = {"sha256": "ab" * 32, "subset": "test"}
TRAINED = {"provenance": {"data": {"records": {"a/r1": "0"}}, "split": {"sha256": "ab" * 32}}}
TRAINED_ELSEWISE = {"provenance": {"data": {"records": ["a/r1"]}}}


@pytest.mark.parametrize(
    ("contract", "description", "text"),
    [
        (TRAINED, {"records": ["a/r1", "a/r2"]}, "trained on a/r1 and no split says which images"),
        (TRAINED, {"records": ["a/r2"]}, None),
        (TRAINED, {"records": ["a/r1"], "split": SPLIT}, None),
        (
            TRAINED,
            {"records": ["a/r1"], "split": {**SPLIT, "subset": "train"}},
            "with these very images",
        ),
        (TRAINED_ELSEWISE, {"records": ["a/r1"], "split": SPLIT}, "with another split or none"),
        ({"provenance": {}}, {"records": ["a/r1"]}, None),
    ],
)
def test_records_of_the_training_are_named(
    contract: dict[str, object], description: dict[str, object], text: str | None
) -> None:
    found = seen_in_training(contract, description)
    if text is None:
        assert found is None
    else:
        assert found is not None
        assert text in found
