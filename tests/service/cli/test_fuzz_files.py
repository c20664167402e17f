"""A few of the files that `tests.stress.fuzz_files` gives by the thousand."""

import pytest

from tests.stress.fuzz_files import Target, fuzz
from tests.stress.wrong_files import KINDS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor:UserWarning")
def test_files_with_one_thing_wrong_are_refused_by_name(tmp_path):
    target = Target(tmp_path)
    fuzz(target, files=12 * len(KINDS), processes=0, seed=11)
    assert target.failures == []
    refused = {kind for kind, outcome in target.outcomes if outcome == "refused"}
    assert refused == set(KINDS)
