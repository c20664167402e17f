import pytest

from models.errors import InputError, NotFound
from models.registry import Registry


def test_a_name_belongs_to_one_entry():
    registry = Registry("toy", {"first": 1})
    registry.register("second", 2)
    registry.register("second", 2)
    with pytest.raises(InputError, match="toy 'first' is registered already"):
        registry.register("first", 3)
    assert list(registry.items()) == [("first", 1), ("second", 2)]
    registry.unregister("first")
    registry.unregister("first")
    registry.register("first", 3)
    assert dict(registry) == {"second": 2, "first": 3}


def test_an_unknown_name_is_refused_with_the_nearest():
    registry = Registry("toy", {"train": 1, "car": 2})
    with pytest.raises(NotFound, match="unknown toy 'trian': did you mean 'train'"):
        registry["trian"]
