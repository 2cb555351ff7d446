"""Networks, preprocessing and projection, compared with scikit-learn and torchvision."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize
from structlog.testing import capture_logs

from harness.releases import TINY_MODEL, build_tiny_release, picture, store_of
from vitrine.errors import ImageRejected, ModelUnknown, ParameterInvalid, ProjectionImpossible, WeightsUnusable
from vitrine.vision import cpu_graph
from vitrine.vision.backbones import extended, load_backbone, restore_backbone, save_weights
from vitrine.vision.extract import extract
from vitrine.vision.models import model_entry, model_table, resolve_options
from vitrine.vision.network import ReleaseNetwork, choose_device, load_release
from vitrine.vision.pca import Projection, ProjectionArrays, fit_projection
from vitrine.vision.preprocess import Normalise, Preprocessor

CPU = choose_device("cpu", "float32")


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    random = np.random.default_rng(0)
    return (random.normal(size=(400, 96)) * np.linspace(3, 0.1, 96) + 0.5).astype(np.float32)


@pytest.mark.parametrize("whiten", [False, True])
def test_the_projection_on_torch_equals_scikit_learn(features: np.ndarray, whiten: bool) -> None:
    fit = fit_projection(features, components=32, whiten=whiten, seed=0)
    with torch.inference_mode():
        ours = Projection(fit.arrays)(torch.from_numpy(features)).numpy()
    pca = PCA(n_components=32, whiten=whiten, svd_solver=fit.solver, random_state=0)
    theirs = normalize(pca.fit(normalize(features).astype(np.float64)).transform(normalize(features)))
    assert np.abs(ours - theirs).max() < 1e-5
    assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() < 1e-5


def test_a_projection_survives_its_file(features: np.ndarray, tmp_path: Path) -> None:
    arrays = fit_projection(features, components=8, whiten=True, seed=0).arrays
    arrays.save(tmp_path / "projection.safetensors")
    again = ProjectionArrays.load(tmp_path / "projection.safetensors")
    np.testing.assert_array_equal(arrays.components, again.components)
    np.testing.assert_array_equal(arrays.mean, again.mean)
    np.testing.assert_array_equal(arrays.scale, again.scale)


@pytest.mark.parametrize(("count", "components"), [(10, 16), (400, 97)])
def test_too_few_pictures_or_raw_components_are_refused(features: np.ndarray, count: int, components: int) -> None:
    with pytest.raises(ProjectionImpossible, match=str(components)):
        fit_projection(features[:count], components=components, whiten=False, seed=0)


def test_identical_pictures_are_refused() -> None:
    with pytest.raises(ProjectionImpossible, match="alike"):
        fit_projection(np.ones((50, 20), dtype=np.float32), components=4, whiten=False, seed=0)


def test_whitening_directions_without_variance_is_refused() -> None:
    flat = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    flat[:, 3:] = 0
    with pytest.raises(ProjectionImpossible, match="directions"):
        fit_projection(flat, components=4, whiten=True, seed=0)


def test_features_that_are_not_finite_are_refused(features: np.ndarray) -> None:
    broken = features.copy()
    broken[3, 4] = np.nan
    with pytest.raises(ProjectionImpossible, match="finite"):
        fit_projection(broken, components=4, whiten=False, seed=0)


def test_the_six_models_of_the_reference_and_mobilenet_are_in_the_table() -> None:
    assert set(model_table()) == {
        "vgg16", "resnet50", "inception_v3", "inception_resnet_v2", "densenet161", "efficient_net_b4",
        "mobilenetv2_100",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "raw_dim", "input_px"),
    [("vgg16", 512, 224), ("resnet50", 2048, 299), ("densenet161", 2208, 224), ("mobilenetv2_100", 1280, 224)],
)
def test_a_model_of_the_table_gives_the_feature_of_the_reference(model: str, raw_dim: int, input_px: int) -> None:
    entry = model_entry(model)
    backbone = load_backbone(entry, weights="seed:0", options={})
    assert backbone.architecture.raw_dim == raw_dim
    assert resolve_options(entry, {}).preprocessing.input_px == input_px


def test_resnet_keeps_negative_evidence() -> None:
    entry = model_entry("resnet50")
    backbone = load_backbone(entry, weights="seed:0", options={})
    # Random weights start with the last normalisation at zero, so only the shortcut would have an effect.
    torch.nn.init.ones_(backbone.network.get_parameter("layer4.2.bn3.weight"))
    with torch.inference_mode():
        found = backbone.network(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert (found < 0).any()


@pytest.mark.parametrize("model", ["", "resnet", "timm:", "timm:no_such_network", "timm:../x"])
def test_an_unknown_model_is_refused_with_the_known_ones(model: str) -> None:
    with pytest.raises(ModelUnknown, match="resnet50"):
        model_entry(model)


@pytest.mark.parametrize(
    "options",
    [
        {"pretrained": True}, {"checkpoint_path": "/x"}, {"num_classes": 3}, {"input_px": 3}, {"input_px": "wide"},
        {"mean": "1,2"}, {"std": 0}, {"interpolation": "nearest"}, {"resize_px": 20, "input_px": 64},
    ],
)  # fmt: skip
def test_an_impossible_option_is_refused(options: dict[str, str | int | float | bool]) -> None:
    with pytest.raises(ParameterInvalid, match="option"):
        resolve_options(model_entry(TINY_MODEL), options)


def test_an_option_that_timm_does_not_accept_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="no_such_option"):
        load_backbone(model_entry(TINY_MODEL), weights="seed:0", options={"no_such_option": 1})


def test_weights_from_a_file_are_the_weights_in_it(tmp_path: Path) -> None:
    entry = model_entry(TINY_MODEL)
    first = load_backbone(entry, weights="seed:3", options={})
    save_weights(first.network, tmp_path / "w.safetensors")
    second = load_backbone(entry, weights=str(tmp_path / "w.safetensors"), options={})
    assert second.weights_source == "file:w.safetensors"
    pixels = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(first.network(pixels), second.network(pixels))


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    save_file({"somewhere": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsUnusable, match=r"w\.safetensors"):
        load_backbone(model_entry(TINY_MODEL), weights=str(tmp_path / "w.safetensors"), options={})


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x80\x04pickled"])
def test_a_weights_file_that_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsUnusable, match=r"w\.safetensors"):
        load_backbone(model_entry(TINY_MODEL), weights=str(tmp_path / "w.safetensors"), options={})


def test_missing_weights_are_reported_without_their_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnusable) as refusal:
        load_backbone(model_entry(TINY_MODEL), weights=str(tmp_path / "none.safetensors"), options={})
    assert str(tmp_path) not in refusal.value.detail


def test_random_weights_do_not_affect_the_random_state_of_the_caller() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_backbone(model_entry(TINY_MODEL), weights="seed:0", options={})
    assert torch.rand(1) == expected


@pytest.mark.parametrize("name", ["timm:mobilenetv4_conv_small", "timm:test_efficientnet"])
def test_a_network_with_an_embedding_layer_is_loaded_from_its_files(name: str, tmp_path: Path) -> None:
    """A network with normalisation after pooling. It has one value per channel there, which training mode refuses."""
    loaded = load_backbone(model_entry(name), weights="seed:0", options={})
    loaded = extended(loaded, pooling=None, embedding=16, seed=0)
    save_weights(loaded.network, tmp_path / "weights.safetensors")
    again = restore_backbone(loaded.architecture, tmp_path / "weights.safetensors")
    pixels = torch.rand(1, 3, 96, 72, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(again(pixels), loaded.network(pixels))


def test_a_picture_has_the_same_vector_alone_and_in_a_batch(tmp_path: Path) -> None:
    release_id = build_tiny_release(tmp_path / "releases")
    store = store_of(tmp_path / "releases")
    manifest = store.manifest(release_id)
    network = load_release(store.local_folder(release_id), manifest, CPU)
    preprocessor = Preprocessor(manifest.preprocessing)
    pixels = np.stack([preprocessor(picture(number)) for number in range(24)])
    together = network.vectors(pixels)
    alone = np.concatenate([network.vectors(pixels[row : row + 1]) for row in range(24)])
    assert np.abs(together - alone).max() < 1e-4
    np.testing.assert_array_equal(np.argsort(-together @ together.T)[:, 0], np.argsort(-alone @ alone.T)[:, 0])


def test_the_fused_graph_gives_the_networks_features() -> None:
    entry = model_entry(TINY_MODEL)
    rules = resolve_options(entry, {"input_px": 64}).preprocessing
    plain = load_backbone(entry, weights="seed:0", options={}).network
    pixels = np.stack([Preprocessor(rules)(picture(number)) for number in range(5)])
    with torch.inference_mode():
        expected = plain(Normalise(rules)(torch.from_numpy(pixels))).numpy()
    with capture_logs() as logs:
        found = ReleaseNetwork(plain, rules, projection=None, choice=CPU).features(pixels)
    assert [entry["event"] for entry in logs if entry["event"] == "graph_refusal"] == []
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_passes_in_several_threads_give_the_same_features() -> None:
    entry = model_entry(TINY_MODEL)
    rules = resolve_options(entry, {"input_px": 64}).preprocessing
    network = ReleaseNetwork(
        load_backbone(entry, weights="seed:0", options={}).network, rules, projection=None, choice=CPU
    )
    prepare = Preprocessor(rules)
    batches = [np.stack([prepare(picture(number)) for number in range(size)]) for size in (1, 4, 2, 3, 5)]
    # Every batch size is new, so the threads also run the compiler concurrently.
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(network.features, batches * 20))
    expected = [network.features(batch) for batch in batches]
    for one, other in zip(found, expected * 20, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_single_picture_computed_on_all_cores_has_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_graph, "CORES", 2)
    monkeypatch.setattr(cpu_graph, "_WORTH_DIVIDING_S", 0.0)
    times_s = iter([2.0, 1.0])
    monkeypatch.setattr(cpu_graph, "_took_s", lambda *_: next(times_s))
    entry = model_entry(TINY_MODEL)
    rules = resolve_options(entry, {"input_px": 64}).preprocessing
    network = ReleaseNetwork(
        load_backbone(entry, weights="seed:0", options={}).network, rules, projection=None, choice=CPU
    )
    pixels = np.stack([Preprocessor(rules)(picture(3))])
    np.testing.assert_allclose(network.submit(pixels, alone=True)[0], network.features(pixels), rtol=1e-3, atol=1e-4)


def test_half_precision_on_a_cpu_keeps_the_direction_of_the_features() -> None:
    entry = model_entry(TINY_MODEL)
    rules = resolve_options(entry, {"input_px": 64}).preprocessing
    network = load_backbone(entry, weights="seed:0", options={}).network
    pixels = np.stack([Preprocessor(rules)(picture(number)) for number in range(5)])
    full = ReleaseNetwork(network, rules, projection=None, choice=choose_device("cpu", "float32")).features(pixels)
    half = ReleaseNetwork(network, rules, projection=None, choice=choose_device("cpu", "bfloat16")).features(pixels)
    cosine = (full * half).sum(axis=1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)
    assert cosine.min() > 0.999
    assert not np.array_equal(full, half), "half precision was not used"


def test_a_network_whose_head_follows_its_pooling_is_fused_in_half_precision_too() -> None:
    network = load_backbone(model_entry("timm:mobilenetv4_conv_small"), weights="seed:0", options={}).network
    rng = torch.Generator().manual_seed(0)

    def noise(count: int) -> torch.Tensor:
        return torch.randn(count, 3, 64, 64, generator=rng)

    state = {key: value.clone() for key, value in network.state_dict().items()}
    with capture_logs() as logs:
        fused = cpu_graph.prepare_for_cpu(network, torch.bfloat16, noise)
    assert [entry for entry in logs if entry["log_level"] == "warning"] == [], "nobody has to do anything about it"
    assert isinstance(fused, cpu_graph.Compiled)
    assert network.state_dict().keys() == state.keys(), "the network was left as it came"
    batch = noise(3)
    with torch.inference_mode():
        cosine = torch.nn.functional.cosine_similarity(fused(batch).float(), network(batch), dim=1)
    assert cosine.min() > 0.99


class CountsItsPictures(torch.nn.Module):
    """A network that is traced wrongly: its output depends on the number of pictures."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        features = batch.mean(dim=(2, 3))
        return features if len(batch) == 2 else features.flip(1) + 1.0


def test_a_network_whose_trace_differs_runs_without_it() -> None:
    rules = resolve_options(model_entry(TINY_MODEL), {"input_px": 64}).preprocessing
    pixels = np.stack([Preprocessor(rules)(picture(number)) for number in range(3)])
    expected = CountsItsPictures()(Normalise(rules)(torch.from_numpy(pixels))).numpy()
    with capture_logs() as logs:
        found = ReleaseNetwork(CountsItsPictures(), rules, projection=None, choice=CPU).features(pixels)
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["graph_absence"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_normalisation_matches_torchvision() -> None:
    rules = resolve_options(model_entry("resnet50"), {}).preprocessing
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    expected = (pixels.transpose(0, 3, 1, 2) / 255.0 - np.reshape(rules.mean, (1, 3, 1, 1))) / np.reshape(
        rules.std, (1, 3, 1, 1)
    )
    np.testing.assert_allclose(Normalise(rules)(torch.from_numpy(pixels)).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(60, 80), (80, 60), (300, 90), (64, 64), (9, 120)])
def test_preprocessing_takes_the_central_square_of_any_picture(size: tuple[int, int]) -> None:
    rules = resolve_options(model_entry(TINY_MODEL), {"input_px": 64}).preprocessing
    image = Image.new("RGB", size, (10, 20, 30))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    pixels = Preprocessor(rules)(buffer.getvalue())
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == (10, 20, 30)).all()


@pytest.mark.parametrize("passes", [1, 2])
def test_extraction_keeps_the_order_and_reports_rejected_pictures(passes: int) -> None:
    entry = model_entry(TINY_MODEL)
    rules = resolve_options(entry, {"input_px": 64}).preprocessing
    network = ReleaseNetwork(
        load_backbone(entry, weights="seed:0", options={}).network, rules, projection=None, choice=CPU
    )
    network.passes_at_once = passes
    files = {str(number): picture(number) for number in range(20)} | {"7": b"no picture", "13": picture(13)[:300]}
    pictures = ((key, partial(files.__getitem__, key)) for key in files)
    batches = list(extract(pictures, network, Preprocessor(rules), batch=6))
    assert [key for batch in batches for key in batch.ids] == [key for key in files if key not in ("7", "13")]
    rejected = {key: reason for batch in batches for key, reason in batch.rejected}
    assert {key: reason.reason for key, reason in rejected.items()} == {"7": "format_unsupported", "13": "truncated"}
    assert all(isinstance(reason, ImageRejected) for reason in rejected.values())
    expected = network.features(np.stack([Preprocessor(rules)(files["19"])]))
    np.testing.assert_allclose(batches[-1].rows[-1], expected[0], rtol=1e-3, atol=1e-4)
