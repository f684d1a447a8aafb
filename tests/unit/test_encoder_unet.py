"""The U-Net of Brain-ID: its shape, its features and the weights of its authors."""

from __future__ import annotations

import argparse
import os

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as nnf  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from deepbrainprint.encoder.unet import UNet, authors_name, load_authors  # noqa: E402
from deepbrainprint.errors import Misconfigured  # noqa: E402


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = UNet(width=16, levels=3, features=16).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture
def volume():
    return torch.rand(2, 1, 12, 14, 10, generator=torch.Generator().manual_seed(1))


def _released(network):
    """The tensors of `network` as the authors' code would have stored them: kernels x, y, z."""
    return {
        authors_name(name): value.permute(0, 1, 3, 4, 2).contiguous() if value.ndim == 5 else value
        for name, value in network.state_dict().items()
    }


def _save_pth(tensors, path, **beside):
    torch.save({"model": tensors, "epoch": 99, "best_val_stats": None} | beside, path)


def test_features_and_image_have_the_size_of_the_volume(network):
    volume = torch.zeros(2, 1, 9, 13, 11)
    assert network.features(volume).shape == (2, 16, 9, 13, 11)
    assert network(volume).shape == (2, 1, 9, 13, 11)


def test_a_narrow_network_still_has_64_features():
    assert UNet(width=16, levels=2).features(torch.zeros(1, 1, 4, 4, 4)).shape[1] == 64


def test_brightness_and_gain_of_a_volume_do_not_change_its_features(network, volume):
    brighter = network.features(volume * 3 + 0.5)
    torch.testing.assert_close(brighter, network.features(volume), atol=1e-3, rtol=1e-3)


def test_layers_follow_the_published_order(network, volume):
    held = network.state_dict()

    def layer(name, x):
        groups = 8 if x.shape[1] >= 8 else 1
        x = nnf.group_norm(x, groups, held[f"{name}.norm.weight"], held[f"{name}.norm.bias"])
        return nnf.leaky_relu(nnf.conv3d(x, held[f"{name}.conv.weight"], padding=1), 0.01)

    def level(name, x):
        return layer(f"{name}.second", layer(f"{name}.first", x))

    top = level("encoders.0", volume)
    middle = level("encoders.1", nnf.max_pool3d(top, 2))
    lowest = level("encoders.2", nnf.max_pool3d(middle, 2))
    risen = nnf.interpolate(lowest, size=middle.shape[2:], mode="nearest")
    risen = level("decoders.0", torch.cat([middle, risen], dim=1))
    risen = nnf.interpolate(risen, size=top.shape[2:], mode="nearest")
    features = level("decoders.1", torch.cat([top, risen], dim=1))
    torch.testing.assert_close(network.features(volume), features)
    image = nnf.conv3d(features, held["head.weight"], held["head.bias"])
    torch.testing.assert_close(network(volume), image)


def test_a_released_tensor_is_called_as_in_the_released_code():
    names = [authors_name(name) for name in UNet(16, 2, 16).state_dict()]
    assert "backbone.encoders.0.basic_module.SingleConv1.groupnorm.weight" in names
    assert "backbone.decoders.0.basic_module.SingleConv2.conv.weight" in names
    assert "head.final_conv_image.bias" in names


def test_the_released_network_has_the_published_size():
    with torch.device("meta"):
        network = UNet(width=64, levels=5)
    shapes = {authors_name(name): tuple(v.shape) for name, v in network.state_dict().items()}
    first = "backbone.encoders.{}.basic_module.SingleConv{}.conv.weight"
    assert shapes[first.format(0, 1)] == (32, 1, 3, 3, 3)
    assert shapes[first.format(4, 2)] == (1024, 512, 3, 3, 3)
    last = "backbone.decoders.3.basic_module.SingleConv{}.conv.weight"
    assert shapes[last.format(1)] == (64, 192, 3, 3, 3)
    assert shapes[last.format(2)] == (64, 64, 3, 3, 3)


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_released_weights_give_the_same_features_on_turned_axes(network, volume, tmp_path, kind):
    released = _released(network)
    path = tmp_path / f"brain_id_pretrained.{kind}"
    if kind == "pth":
        settings = argparse.Namespace(lr=1e-4, losses=argparse.Namespace(image_grad=True))
        _save_pth(released, path, args=settings)
    else:
        save_file(released, path)
    loaded = _loaded(path)
    torch.testing.assert_close(loaded.features(volume), network.features(volume))
    reader = UNet(16, 3, 16).eval()  # the released tensors as they are, on a volume x, y, z
    reader.load_state_dict({name: released[authors_name(name)] for name in reader.state_dict()})
    turned = reader(volume.permute(0, 1, 3, 4, 2)).permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(loaded(volume), turned, atol=1e-4, rtol=1e-4)


def _loaded(path):
    return load_authors(path, width=16, levels=3, features=16)


def test_weights_of_parallel_training_are_loaded_too(network, tmp_path):
    tensors = {f"module.{name}": value for name, value in _released(network).items()}
    _save_pth(tensors, tmp_path / "w.pth")
    assert torch.equal(_loaded(tmp_path / "w.pth").head.bias, network.head.bias)


def test_heads_of_other_tasks_are_left_out(network, tmp_path):
    tensors = _released(network) | {"head.final_conv_image_sigma.bias": torch.zeros(1)}
    _save_pth(tensors, tmp_path / "w.pth")
    assert not _loaded(tmp_path / "w.pth").training


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.pop("head.final_conv_image.bias"), "is missing"),
        (lambda w: w.update({"head.final_conv_image.bias": torch.zeros(33)}), "another shape"),
        (lambda w: w.update({"backbone.final.weight": torch.zeros(3)}), "is not part"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(network, tmp_path, change, reason):
    tensors = _released(network)
    change(tensors)
    _save_pth(tensors, tmp_path / "w.pth")
    with pytest.raises(Misconfigured, match=reason) as refused:
        _loaded(tmp_path / "w.pth")
    assert refused.value.code == "weights_differ"


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_damaged_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(Misconfigured) as refused:
        load_authors(tmp_path / name)
    assert refused.value.code == "weights_differ"


class _Trap:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_a_file_that_would_run_code_is_refused(network, tmp_path):
    _save_pth(_released(network), tmp_path / "w.pth", args=_Trap(tmp_path / "sprung"))
    with pytest.raises(Misconfigured):
        _loaded(tmp_path / "w.pth")
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(Misconfigured, match="brain_id_pretrained") as refused:
        load_authors(tmp_path / "brain_id_pretrained.pth")
    assert refused.value.code == "weights_missing"


@pytest.mark.parametrize("size", [(12, 3), (16, 1), (0, 3)])
def test_a_network_that_cannot_be_built_is_refused(size):
    with pytest.raises(Misconfigured):
        UNet(*size)
