"""The released 3D ResNet-18: its layout, its names, its weights, and its graph in ONNX."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from deepbrainprint.encoder.recipe import RELEASED_CUBES  # noqa: E402
from deepbrainprint.encoder.resnet3d import (  # noqa: E402
    AnatClBackbone,
    GreyReader,
    Head,
    ResNet3d,
    load_authors,
)
from deepbrainprint.errors import Misconfigured  # noqa: E402

SMALL = (1, 1, 19, 22, 17)


def _authors_shapes():
    """Names and shapes of the authors' encoder, written out by their layout."""
    shapes = {"conv1.weight": (64, 1, 7, 7, 7)} | _norm("bn1", 64)
    inputs = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            first = inputs if block == 0 else width
            shapes[f"{name}.conv1.weight"] = (width, first, 3, 3, 3)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3, 3)
            shapes |= _norm(f"{name}.bn1", width) | _norm(f"{name}.bn2", width)
        if stage > 1:
            shapes[f"layer{stage}.0.downsample.0.weight"] = (width, inputs, 1, 1, 1)
            shapes |= _norm(f"layer{stage}.0.downsample.1", width)
        inputs = width
    return shapes


def _norm(name, width):
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{v}": (width,) for v in vectors} | {f"{name}.num_batches_tracked": ()}


@pytest.fixture(scope="module")
def checkpoint():
    """A checkpoint as the authors' training leaves it: encoder and head, seeded values."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in _authors_shapes().items():
        drawn = 0.05 * torch.randn(shape, generator=generator)
        counter = name.endswith("num_batches_tracked")
        tensors[f"encoder.{name}"] = torch.tensor(7) if counter else drawn + ("var" in name)
    for layer, outputs in ((0, 512), (2, 128)):
        tensors[f"head.{layer}.weight"] = torch.zeros(outputs, 512)
        tensors[f"head.{layer}.bias"] = torch.zeros(outputs)
    return tensors


def test_layers_are_named_and_shaped_as_the_authors(checkpoint):
    ours = {name: tuple(tensor.shape) for name, tensor in ResNet3d().state_dict().items()}
    assert ours == _authors_shapes()


def test_a_volume_of_any_size_becomes_512_features_halved_five_times():
    network = ResNet3d().eval()
    sizes = []
    for name in ("conv1", "layer1", "layer2", "layer3", "layer4"):
        network.get_submodule(name).register_forward_hook(
            lambda _m, _i, made: sizes.append(tuple(made.shape[2:]))
        )
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 33, 40, 32)).shape == (1, 512)
    assert sizes == [(17, 20, 16), (9, 10, 8), (5, 5, 4), (3, 3, 2), (2, 2, 1)]


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_checkpoint_of_the_authors_is_loaded(checkpoint, tmp_path, wrapped):
    torch.save({"model": checkpoint, "epoch": 300} if wrapped else checkpoint, tmp_path / "f.pth")
    network = load_authors(tmp_path / "f.pth")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, checkpoint[f"encoder.{name}"])
    assert not network.training


def test_names_wrapped_by_several_devices_and_safetensors_are_loaded_too(checkpoint, tmp_path):
    wrapped = {f"module.{name}": tensor.contiguous() for name, tensor in checkpoint.items()}
    save_file(wrapped, tmp_path / "fold0.safetensors")
    first = load_authors(tmp_path / "fold0.safetensors").conv1.weight
    assert torch.equal(first, checkpoint["encoder.conv1.weight"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("encoder.layer3.1.bn2.bias"), "1 tensors are missing, such as encoder.layer3"),
        (lambda c: c.update({"encoder.layer5.weight": torch.zeros(1)}), "unknown, such as encoder.layer5"),
        (lambda c: c.update({"encoder.conv1.weight": torch.zeros(32, 1, 7, 7, 7)}), r"\(32, 1, 7, 7, 7\), not"),
        (dict.clear, "120 tensors are missing"),
    ],
    ids=["one missing", "one too many", "another width", "nothing of it"],
)  # fmt: skip
def test_weights_of_another_network_are_refused_with_what_is_wrong(
    checkpoint, tmp_path, change, said
):
    other = dict(checkpoint)
    change(other)
    torch.save({"model": other}, tmp_path / "f.pth")
    with pytest.raises(Misconfigured, match=said) as caught:
        load_authors(tmp_path / "f.pth")
    assert caught.value.code == "other_weights"


class Anything:
    pass


def _garbage(path):
    path.write_bytes(b"not a checkpoint")


def _objects(path):
    torch.save({"model": Anything()}, path)


def _absent(path):
    pass


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("write", [_garbage, _objects, _absent])
def test_a_file_that_is_no_plain_tensors_is_refused(tmp_path, write, suffix):
    path = tmp_path / f"fold0{suffix}"
    write(path)
    with pytest.raises(Misconfigured, match="cannot be read as weights") as caught:
        load_authors(path)
    assert caught.value.code == "unreadable_weights"


def test_the_head_makes_128_numbers_of_unit_length():
    made = Head(512)(torch.randn(3, 512, generator=torch.Generator().manual_seed(0)))
    assert made.shape == (3, 128)
    torch.testing.assert_close(made.norm(dim=1), torch.ones(3))


def test_the_backbone_sees_x_y_z_as_the_authors_network_does():
    backbone = AnatClBackbone().eval()
    volume = torch.rand(SMALL, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        direct = backbone.encoder(volume)
        ours = backbone(volume[:, 0].permute(0, 3, 1, 2))  # (B, Z, X, Y)
    torch.testing.assert_close(ours, direct)


def test_the_reader_cuts_the_authors_part_of_the_lattice():
    maps = torch.arange(121 * 145, dtype=torch.int64).reshape(1, 121, 1, 145)
    maps = (maps % 256).to(torch.uint8).expand(1, 121, 121, 145)
    read = GreyReader(RELEASED_CUBES)(maps)
    assert read.shape == (1, 121, 121, 128)
    torch.testing.assert_close(read, maps[..., 8:136].float() / 255)


@pytest.mark.parametrize("width", [8, 64])
def test_the_exported_graph_agrees_with_torch_for_any_batch(tmp_path, width):
    ort = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = torch.nn.Sequential(GreyReader(((1, 20), (2, 24), (0, 17))), AnatClBackbone(width))
    network.eval()
    example = torch.zeros(1, 18, 21, 25, dtype=torch.uint8)
    torch.onnx.export(
        network,
        (example,),
        str(tmp_path / "anatcl.onnx"),
        input_names=["maps"],
        output_names=["features"],
        dynamic_axes={"maps": {0: "batch"}, "features": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    session = ort.InferenceSession(tmp_path / "anatcl.onnx", providers=["CPUExecutionProvider"])
    maps = np.random.default_rng(0).integers(0, 256, (3, 18, 21, 25), dtype=np.uint8)
    (made,) = session.run(None, {"maps": maps})
    with torch.inference_mode():
        wanted = network(torch.from_numpy(maps)).numpy()
    assert made.shape == (3, 512)
    cosine = (made * wanted).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() > 0.9999
