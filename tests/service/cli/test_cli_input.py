"""What users write, through the command line: exit code 2, one line, a field and its line named."""

import json

import pytest

from models.spaces import published_spaces, to_ofa
from models.training.recipe import RECIPES
from tests.net_configs import net_config
from tests.service.conftest import DEVICE, SUPERNET
from tests.spaces import DEBUG

RECIPE = (RECIPES / "debug.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("stem_width = 8", "stem_width = -8", "line 22: recipe.space.stem_width: "),
        ("stem_width = 8", 'stem_width = "8"', "line 22: recipe.space.stem_width: "),
        ("channels = 1", "channels = 3.0", "line 17: recipe.space.channels: "),
        ("[16, 28]", "[48.5, 64]", "line 19: recipe.space.resolutions[0]: "),
        ("channels = 1", "channels = 1\nbn_eps = -1", "line 18: recipe.space.bn_eps: "),
        ("classes = 10", "classes = 0", "line 18: recipe.space.classes: "),
        ("head_width = 32", "head_width = 0", "line 30: recipe.space.head_width: "),
        ('name = "debug"', 'name = "../../evil"', "line 2: recipe.name: "),
        ("batch_size = 64", "batch_size = 0", "line 6: recipe.batch_size: "),
    ],
)
def test_recipes(run, tmp_path, old, new, words):
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE.replace(old, new, 1))
    result = run("supernets", "train", path, code=2)
    assert f"mine.toml: {words}expected " in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "home" / "training").exists()


def test_an_architecture_of_another_family_is_told_the_fields_of_this_one(run, tmp_path):
    path = tmp_path / "archs.json"
    space = published_spaces()["ofa-resnet50"]
    value = space.smallest.to_json()
    del value["width"]
    path.write_text(json.dumps([space.largest.to_json(), value], indent=1))
    on = ("predict", "--supernet", "ofa-resnet50", "--archs", path)
    stderr = run(*on, code=2).stderr
    assert "archs[1]: field 'width' is missing" in stderr
    assert "(resolution, depth, width, expand)" in stderr
    assert "kernel" not in stderr
    path.write_text(json.dumps(DEBUG.largest.to_json()))
    assert "unknown field 'kernel'; expected (resolution, depth, width" in run(*on, code=2).stderr


@pytest.mark.parametrize("name", ["x.pth", "x.tflite", "x.ONNX.zip"])
def test_a_model_is_not_written_under_the_name_of_another_format(run, tmp_path, name):
    arch = tmp_path / "arch.json"
    arch.write_text(json.dumps(DEBUG.smallest.to_json()))
    on = ("export", "--supernet", SUPERNET, "--arch", arch, "-o")
    stderr = run(*on, tmp_path / name, code=2).stderr
    assert "expected a name ending in .onnx, since this writes an ONNX model" in stderr
    assert not (tmp_path / name).exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.ONNX", "x", "mine-w1.2"])
def test_a_name_that_says_no_other_format_is_taken(run, tmp_path, name):
    arch = tmp_path / "arch.json"
    arch.write_text(json.dumps(DEBUG.smallest.to_json()))
    run("export", "--supernet", SUPERNET, "--arch", arch, "-o", tmp_path / name)
    assert (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["x.onnx", "x.safetensors"])
def test_a_checkpoint_is_not_written_under_the_name_of_another_format(run, tmp_path, name):
    on = ("supernets", "export-checkpoint", SUPERNET, "-o", tmp_path / name)
    assert "since this writes a torch checkpoint" in run(*on, code=2).stderr
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("command", ["collect", "compare"])
def test_a_supernet_that_was_not_trained_here_says_how_to_measure_it(run, command):
    stderr = run("supernets", command, "ofa-mbv3-w1.0", code=2).stderr
    assert "was not trained here" in stderr
    assert "supernets fit-predictor ofa-mbv3-w1.0 --measurements FILE" in stderr


def test_a_fit_without_measurements_advises_what_is_possible(run):
    stderr = run("supernets", "fit-predictor", "ofa-mbv3-w1.2", code=2).stderr
    assert "collect" not in stderr
    assert "--measurements" in stderr


def test_a_published_network_is_read_with_the_run_config_beside_it(run, tmp_path):
    arch = DEBUG.uniform(12, -1, 5, 4)
    path, run_config = tmp_path / "net.config", tmp_path / "run.config"
    path.write_text(json.dumps(net_config(DEBUG, arch), indent=1))
    on = ("predict", "--supernet", SUPERNET, "--archs", path, "--json")
    assert "net.config: arch.image_size: is missing" in run(*on, code=2).stderr
    run_config.write_text('{"image_size": 12, "n_epochs": 25}')
    assert json.loads(run(*on).stdout)[0]["arch"] == arch.to_json()
    run_config.write_text('{"image_size": 13}')
    assert "arch.image_size: expected one of [8, 12], got 13" in run(*on, code=2).stderr
    run_config.write_text("{}")
    assert "run.config: expected an object with 'image_size'" in run(*on, code=2).stderr
    text = path.read_text().replace('"kernel_size": 5', '"kernel_size": 7', 1)
    line = 1 + text[: text.index('"kernel_size": 7')].count("\n")
    path.write_text(text)
    run_config.write_text('{"image_size": 12}')
    stderr = run(*on, code=2).stderr
    place = "arch.blocks[1].mobile_inverted_conv.kernel_size"
    assert f"line {line}: {place}: expected one of" in stderr


@pytest.mark.slow
def test_architectures_in_ofas_form_go_in_and_out(run, run_json, tmp_path):
    on = ("--supernet", SUPERNET, "--device", DEVICE)
    archs = [DEBUG.smallest, DEBUG.largest]

    def predict(archs: list, *more: str, code: int = 0):
        path = tmp_path / "archs.json"
        path.write_text(json.dumps(archs))
        return run("predict", *on, "--archs", path, *more, code=code)

    theirs = [to_ofa(DEBUG, arch) for arch in archs]
    told = predict(theirs, "--arch-format", "ofa", "--json")
    rows, ours = (
        json.loads(text)
        for text in (told.stdout, predict([arch.to_json() for arch in archs], "--json").stdout)
    )
    assert [row["arch"] for row in rows] == theirs
    assert [row | {"arch": 0} for row in rows] == [row | {"arch": 0} for row in ours]
    assert "archs.json: 1 of 2 networks: entries of blocks beyond the depth" in told.stderr
    found = run_json("search", *on, "--latency-ms", 0.8, "--arch-format", "ofa")
    assert set(found["arch"]) == {"ks", "e", "d", "r"}
    points = run_json("front", *on, "--arch-format", "ofa")["points"]
    assert all(to_ofa(DEBUG, DEBUG.read_arch(p["arch"])) == p["arch"] for p in points)
    for bad, place in ({"ks": [9] * 4}, "archs[0].ks[0]"), ({"r": None}, "field 'r' is missing"):
        assert place in predict([theirs[0] | bad], code=2).stderr
    assert "--arch-format" in run("front", *on, "--arch-format", "x", code=2).stderr
