"""Brain-ID as a fingerprint: what is learned, how features are pooled, and the exported graph."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from deepbrainprint.encoder import brain_id  # noqa: E402
from deepbrainprint.encoder.anatomy import from_brain, from_labels  # noqa: E402
from deepbrainprint.encoder.brain_id import (  # noqa: E402
    BrainIdObjective,
    reconstruction_losses,
)
from deepbrainprint.encoder.checkpoint import Progress  # noqa: E402
from deepbrainprint.encoder.lattice import Lattice  # noqa: E402
from deepbrainprint.encoder.pooling import BrainIdBackbone, VolumeReader, halves  # noqa: E402
from deepbrainprint.encoder.recipe import BrainIdRecipe  # noqa: E402
from deepbrainprint.encoder.synthesis import Draw  # noqa: E402
from deepbrainprint.encoder.unet import UNet, authors_name  # noqa: E402
from deepbrainprint.imaging import reading, template  # noqa: E402

RECIPE = BrainIdRecipe("small", levels=2, step_mm=12, check_people=4, seed=5)
LATTICE = Lattice(RECIPE.step_mm)


def _labels(shift):
    x, y, z = np.ogrid[:182, :218, :182]
    radius = np.sqrt(((x - 90) / 72) ** 2 + ((y - 108) / 90) ** 2 + ((z - 80) / 72) ** 2)
    hole = np.sqrt(((x - 90) / 25) ** 2 + ((y - 108 - shift) / 40) ** 2 + ((z - 85) / 20) ** 2)
    return np.select([hole < 1, radius < 0.7, radius < 0.95], [4, 2, 3], 0).astype(np.uint8)


@pytest.fixture(scope="module")
def anatomies():
    levels = np.zeros(256, dtype=np.uint8)
    levels[[2, 3, 4]] = [200, 120, 45]
    return [from_labels("one", _labels(0)), from_brain("two", levels[_labels(15)])]


@pytest.fixture
def objective(anatomies):
    return BrainIdObjective(RECIPE, anatomies, anatomies)


@pytest.fixture
def backbone():
    torch.manual_seed(1)
    return BrainIdBackbone(UNet(RECIPE.width, RECIPE.levels), LATTICE).eval()


@pytest.fixture
def volumes():
    """(3, Z, X, Y), 0 outside a ball."""
    place = LATTICE.positions() - torch.tensor([90.0, 107, 80])
    inside = (place.norm(dim=-1) < 75).float()
    return inside * (
        0.2 + torch.rand(3, *LATTICE.shape, generator=torch.Generator().manual_seed(2))
    )


def test_the_network_reads_the_part_of_a_whole_brain_that_brains_fill():
    form, lattice = BrainIdRecipe("three").form, Lattice(3)
    brain = np.zeros((182, 218, 182), dtype=np.uint8)
    brain[36:39, 42:45, 30:33] = 255
    read = reading.read(brain, form)
    assert read.shape == form.shape
    seen = VolumeReader(lattice)(torch.from_numpy(read[np.newaxis]))
    assert seen.shape == (1, *lattice.shape)
    (place,) = torch.nonzero(seen[0])
    assert lattice.positions()[tuple(place)].tolist() == [37, 43, 31]
    assert seen.max() == 1


def _octants(lattice):
    """(8, Z, X, Y): above or below, right or left, front or back of the middle of the brain."""
    x, y, z = (lattice.positions() > torch.tensor([90.5, 101, 81])).unbind(dim=-1)
    return torch.stack(
        [
            (z == up) & (x == right) & (y == front)
            for up in (0, 1)
            for right in (0, 1)
            for front in (0, 1)
        ]
    )


def test_octants_halve_the_template_brain_along_each_axis():
    lattice = Lattice(3)
    x, y, z = lattice.positions().long().unbind(dim=-1)
    brain = torch.from_numpy(template.mask().copy())[x, y, z].float()
    shares = (_octants(lattice) * brain).sum(dim=(1, 2, 3)) / brain.sum()
    assert shares.sum() == pytest.approx(1)
    assert shares.min() > 0.06
    parts = [shares[[i for i in range(8) if i & bit]].sum() for bit in (4, 2, 1)]
    assert parts == pytest.approx([0.5, 0.5, 0.5], abs=0.03)
    for matrix, size in zip(halves(lattice), lattice.shape, strict=True):
        assert matrix.sum(dim=0).tolist() == [1] * size


def test_a_fingerprint_is_the_mean_of_each_feature_in_each_octant_of_the_brain(backbone, volumes):
    with torch.no_grad():
        fingerprints = backbone(volumes).numpy().reshape(3, 64, 8)
        brightest = volumes.amax(dim=(1, 2, 3), keepdim=True)
        features = backbone.unet.features((volumes / brightest)[:, None])
    regions = _octants(LATTICE).numpy()
    for scan in range(3):
        inside = volumes[scan].numpy() > 0
        for number, region in enumerate(regions):
            wanted = features[scan].numpy()[:, inside & region].mean(axis=1)
            np.testing.assert_allclose(fingerprints[scan, :, number], wanted, atol=1e-5)


def test_gain_of_a_scan_does_not_change_its_fingerprint(backbone, volumes):
    torch.testing.assert_close(backbone(volumes * 0.003), backbone(volumes), atol=1e-5, rtol=1e-4)


def test_an_empty_volume_gives_a_finite_fingerprint(backbone):
    assert torch.isfinite(backbone(torch.zeros(1, *LATTICE.shape))).all()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_the_exported_graph_gives_the_same_fingerprints_for_any_batch(volumes, tmp_path):
    torch.manual_seed(0)
    backbone = BrainIdBackbone(UNet(16, 3), LATTICE).eval()  # odd sizes at the lowest level
    path = tmp_path / "brain_id.onnx"
    torch.onnx.export(
        backbone,
        (volumes[:1],),
        str(path),
        input_names=["volume"],
        output_names=["features"],
        dynamic_axes={"volume": {0: "batch"}, "features": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        (made,) = session.run(None, {"volume": volumes[:batch].numpy()})
        with torch.no_grad():
            wanted = backbone(volumes[:batch]).numpy()
        cosine = (
            (made * wanted).sum(axis=1)
            / np.linalg.norm(made, axis=1)
            / np.linalg.norm(wanted, axis=1)
        )
        assert cosine.min() > 0.9999


def test_losses_of_an_image_and_its_gradient_are_known_by_hand():
    made, target = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    made[0, 0, 0, 0] = 4  # one of eight voxels; one step of 4 along each axis
    image, gradient = reconstruction_losses(made, target)
    assert image == pytest.approx(4 / 8)
    assert gradient == pytest.approx(3 * 4 / 8)


def test_losses_are_those_of_plain_numpy():
    generator = torch.Generator().manual_seed(3)
    made, target = (
        torch.rand(2, 3, 4, 5, generator=generator),
        torch.rand(2, 3, 4, 5, generator=generator),
    )
    image, gradient = reconstruction_losses(made, target)
    error = (made - target).numpy()
    steps = sum(np.abs(np.diff(error, axis=axis)).sum() / error.size for axis in (1, 2, 3))
    assert image == pytest.approx(np.abs(error).mean())
    assert gradient == pytest.approx(steps, rel=1e-5)


def test_a_batch_depends_on_the_seed_and_the_step_alone(objective, anatomies):
    batch = objective.draw(Progress(7), 0.1)
    later = BrainIdObjective(RECIPE, anatomies, anatomies).draw(Progress(7, seconds=90), 0.8)
    assert torch.equal(batch.views, later.views)
    assert not torch.equal(batch.views, objective.draw(Progress(8), 0.1).views)
    assert batch.views.shape == (1, 4, *LATTICE.shape)
    assert batch.targets.shape == (1, *LATTICE.shape)


def test_the_loss_is_the_mean_over_the_views(objective):
    batch = objective.draw(Progress(1), 0.0)
    loss, figures = objective.loss(batch)
    assert loss.item() == pytest.approx(figures["l1_image"] + figures["l1_gradient"], rel=1e-5)
    with torch.no_grad():
        made = objective.backbone.unet(batch.views[0][:, None])[:, 0]
    alone = [float((view - batch.targets[0]).abs().mean()) for view in made]
    assert figures["l1_image"] == pytest.approx(np.mean(alone), rel=0.02)  # bfloat16


def test_learning_on_a_batch_lowers_its_loss(objective):
    batch = objective.draw(Progress(1), 0.0)
    optimiser = torch.optim.AdamW(objective.learner.parameters(), lr=3e-3)
    before = objective.loss(batch)[0].item()
    for _ in range(12):
        loss, _ = objective.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.7 * before


def test_released_weights_take_the_place_of_trained_ones(objective, tmp_path):
    released = UNet(RECIPE.width, RECIPE.levels)
    tensors = {
        authors_name(name): value.permute(0, 1, 3, 4, 2).contiguous() if value.ndim == 5 else value
        for name, value in released.state_dict().items()
    }
    save_file(tensors, tmp_path / "released.safetensors")
    objective.adopt(tmp_path / "released.safetensors")
    adopted = objective.backbone.unet.state_dict()
    assert all(torch.equal(adopted[name], v) for name, v in released.state_dict().items())


def test_held_out_people_are_measured(objective):
    figures = objective.check()
    assert set(figures) == {"held_out_l1", "feature_ssim", "held_out_accuracy"}
    assert 0 <= figures["held_out_accuracy"] <= 1
    assert -1 <= figures["feature_ssim"] <= 1
    assert figures == objective.check()


def test_people_are_scanned_as_the_backbone_reads_them(objective, anatomies):
    scans = objective.scan(anatomies, scans=3, draw=Draw(torch.Generator().manual_seed(1)))
    assert scans.shape == (2, 3, *LATTICE.shape)
    assert (scans.min() >= 0, scans.max() <= 1) == (True, True)
    again = objective.scan(anatomies, scans=3, draw=Draw(torch.Generator().manual_seed(1)))
    assert torch.equal(scans, again)
    assert not torch.equal(scans[0, 0], scans[0, 1])


def test_people_are_scanned_without_anything_around_the_brain(objective, anatomies, monkeypatch):
    looks = []
    monkeypatch.setattr(
        brain_id, "draw_view", lambda _, x, look, __: looks.append(look) or torch.ones(x.shape)
    )
    scans = objective.scan(anatomies, scans=2, draw=Draw(torch.Generator().manual_seed(1)))
    assert 0.2 < scans.mean() < 0.6
    assert (scans[..., [0, -1], :].max(), scans[:, :, -1].max()) == (0, 0)
    assert {look.corruption.bag for look in looks} == {0}


def test_shared_protocols_give_everyone_the_same_contrast(objective, anatomies):
    usual = torch.linspace(0, 1, 256)
    curves = torch.stack([usual, 1 - usual])
    draw = Draw(torch.Generator().manual_seed(1), severity=0.0, protocols=curves)
    for usual_scan, inverted in objective.scan(anatomies * 3, scans=2, draw=draw):
        inside = (usual_scan > 0.1) & (inverted > 0.1)
        pair = torch.stack([usual_scan[inside], inverted[inside]])
        assert torch.corrcoef(pair)[0, 1] < -0.3


def test_what_the_paper_reports_of_features_is_measured_on_held_out_people(objective):
    found = objective.results()
    assert {"intra_subject_ssim", "intra_subject_deformed_l1", "inter_subject_ssim"} <= set(found)
    assert objective.results() == found
