"""Checkpoint files that are refused before anything is made of them."""

import io
import pickle
import zipfile

import pytest
import torch

from models.errors import InputError
from models.supernet.checkpoint_file import read_checkpoint


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Code:
    """Raises when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code was run')",)


def deflated(content: bytes) -> bytes:
    """The same archive with 8 MiB of zeros more in its first entry, compressed."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for place, name in enumerate(source.namelist()):
            target.writestr(name, source.read(name) + bytes(2**23) * (place == 0))
    return buffer.getvalue()


WEIGHT = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps(Code()), "refused, expected a torch file of tensors alone"),
        (saved({"a": Code()}), r"got code \(exec\); save its state_dict alone"),
        (deflated(saved({"a": WEIGHT})), "would unpack to 8.* bytes from"),
        (
            saved({"a": WEIGHT.to_sparse()}),
            "'a': expected a dense tensor with its values, got torch",
        ),
        (
            saved({"a": WEIGHT.to("meta")}),
            "'a': expected a dense tensor with its values, .* on meta",
        ),
        (saved({"a": torch.zeros(1).expand(2**38)}), "'a': expected a tensor with its values"),
        (saved({"a\x1b[31m": 3}), r"expected tensors by name, got int at 'a.x1b\[31m'"),
        (saved([WEIGHT]), "expected a state dict"),
        (b"", "cannot be read|refused"),
        (saved({"a": WEIGHT})[:-30], "cannot be read|damaged"),
    ],
)
def test_files_that_are_refused(tmp_path, content, words):
    path = tmp_path / "c.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        read_checkpoint(path)
    assert "weights_only" not in str(error.value), "advice to run the code"


def test_parameters_are_tensors(tmp_path):
    path = tmp_path / "c.pth"
    path.write_bytes(saved({"a": torch.nn.Parameter(WEIGHT)}))
    assert not read_checkpoint(path)["a"].requires_grad
