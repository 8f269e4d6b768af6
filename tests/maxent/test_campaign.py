"""Problems of maximum entropy of ten kinds, each claim checked by exact arithmetic."""

import pytest
from maxent_campaign import KINDS, run


def assert_no_wrong_claim(seen):
    for name, counts in seen.items():
        assert counts["wrong"] == 0, (name, counts)


def test_a_few_problems_of_every_kind():
    seen = run(seed=1, count=3 * len(KINDS))
    assert_no_wrong_claim(seen)
    assert all(counts["right"] >= 2 for counts in seen.values())


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_many_problems_of_every_kind(seed):
    seen = run(seed, count=500)
    assert_no_wrong_claim(seen)
    assert sum(counts["undecided"] for counts in seen.values()) <= 1
