"""The attribute network: what it reads, how it is kept, and (slow) that it is good enough to judge with."""

from __future__ import annotations

import pytest
import torch

from src.data.catalogue import DRAWN
from src.data.sprites import SpritesDataset
from src.data.toy_datasets import make_dataset
from src.evaluation import attribute_training
from src.evaluation.attribute_network import GRID, AttributeNetwork, Reading, obeying, read_images
from src.evaluation.attribute_training import (
    Examples,
    attribute_network,
    is_kept,
    make_examples,
    measure,
    objective,
    usual_minutes,
)
from src.evaluation.generation import well_formedness
from src.evaluation.malformed import KINDS, TOO_FEW, LayerPool

# with the share of errors they may make and the least accuracy of shapes: turned sprites are harder to judge
SHIPPED = [
    ("shapes", "black", 0.05, 0.98),
    ("shapes", "random", 0.05, 0.98),
    ("multi_dsprites", "black", 0.1, 0.95),
    ("sprites", "black", 0.01, 0.995),
]


@pytest.fixture
def tiny(monkeypatch) -> None:
    """Training and measuring in a second or two: everything real, but small."""
    for name, value in {
        "PLACEMENTS": 64,
        "EXAMPLES": 128,
        "BATCH": 8,
        "TEST_SCENES": 40,
        "TEST_PER_KIND": 8,
    }.items():
        monkeypatch.setattr(attribute_training, name, value)


def planted(images: int = 1) -> tuple[AttributeNetwork, list[torch.Tensor]]:
    """A network whose raw outputs are given by hand: two red-ish objects in every image."""
    network = AttributeNetwork(4, ("circle", "square", "triangle"), tuple("rgbymc")).eval()
    verdict, centre = torch.full((images,), 3.0), torch.full((images, GRID, GRID), -5.0)
    offset, shape = torch.zeros(images, 2, GRID, GRID), torch.zeros(images, 3, GRID, GRID)
    colour = torch.zeros(images, 6, GRID, GRID)
    centre[:, 3, 5], centre[:, 3, 6], centre[:, 12, 9] = (
        4.0,
        2.0,
        3.0,
    )  # the second is no peak: a neighbour is larger
    offset[:, 0, 3, 5], offset[:, 1, 3, 5] = 0.25, -0.5
    shape[:, 2, 3, 5] = shape[:, 1, 12, 9] = colour[:, 4, 3, 5] = 5.0
    outputs = [verdict, centre, torch.zeros_like(centre), offset, shape, colour]
    network.forward = lambda batch: tuple(output[: len(batch)] for output in outputs)
    return network, outputs


def test_peaks_are_read_where_they_are() -> None:
    network, _ = planted()
    reading = network.read(torch.zeros(1, 3, 64, 64))
    assert reading.count.item() == 2 and reading.well_formed.item()
    assert reading.found[0].tolist() == [True, True] + [False] * 6
    assert reading.x[0, 0].item() == pytest.approx(5.75 / GRID)
    assert reading.y[0, 0].item() == pytest.approx(3.0 / GRID)
    assert reading.shape[0, :3].tolist() == [2, 1, -1] and reading.colour[0, :3].tolist() == [4, 0, -1]
    assert reading.x[0, 2:].isnan().all()


def test_well_formed_needs_a_clean_verdict_and_a_right_number_of_objects() -> None:
    network, (verdict, centre, *_) = planted(images=4)
    verdict[1] = -3.0
    centre[2] = -5.0
    for cell in range(0, 15, 3):
        centre[3, cell, cell] = 5.0  # three more: seven in all
    images = torch.zeros(4, 3, 64, 64)
    assert network.read(images).well_formed.tolist() == [True, False, False, False]
    scores = well_formedness(images, network)
    assert (scores["count"], scores["n"], scores["share"]) == (1, 4, 0.25)
    assert scores["clean"] == 0.75
    assert scores["objects"] == [1, 0, 2, 0, 0, 1]
    assert scores["low"] == pytest.approx(0.0456, abs=1e-3) and scores["high"] == pytest.approx(0.6994, abs=1e-3)


def test_an_exact_number_of_objects_and_the_rule_of_the_data() -> None:
    network, (verdict, centre, _, shape, colour) = (lambda n, o: (n, (o[0], o[1], o[2], o[4], o[5])))(
        *planted(images=4)
    )
    network.min_shapes = 4
    images = torch.zeros(4, 3, 64, 64)
    assert not network.read(images).well_formed.any()  # two objects only
    centre[:] = -5.0
    cells = [(3, 3), (3, 12), (12, 3), (12, 12)]
    for row, column in cells:
        centre[:, row, column] = 5.0
        shape[:, :, row, column] = colour[:, :, row, column] = torch.tensor(0.0)
        shape[:, 1, row, column] = colour[:, 2, row, column] = 5.0
    shape[0, 2, 3, 3] = shape[2, 2, 3, 3] = 9.0  # one of another shape: the rule holds
    colour[2, 4, 12, 12] = 9.0  # and a second one of another colour: it does not
    verdict[3], shape[3, 2, 3, 3] = -3.0, 9.0  # it would, but the scene is not clean
    reading = network.read(images)
    assert reading.well_formed.tolist() == [True, True, True, False]
    assert obeying(reading, SpritesDataset.rule).tolist() == [True, False, False, False]
    scores = well_formedness(images, network, rule=SpritesDataset.rule)
    assert (scores["count"], scores["obeys_rule"]["count"], scores["obeys_rule"]["n"]) == (3, 1, 4)
    assert "obeys_rule" not in well_formedness(images, network)


def test_the_network_of_sprites_learns_without_the_rule_and_is_measured_on_it(tiny, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(
        attribute_training, "LayerPool", lambda data, device: seen.append(data) or LayerPool(data, device)
    )
    dataset = SpritesDataset(1, background="textured")
    network, report = attribute_network(dataset, steps=1, progress=False)
    assert [(data.split, data.ruled, len(data)) for data in seen] == [("train", False, 64), ("test", False, 40)]
    assert (network.min_shapes, len(network.shape_names), len(network.colour_names)) == (4, 12, 7)
    assert set(report["false_accept_by_kind"]) == {*KINDS, TOO_FEW}
    assert report["rule_missed"]["n"] == 40 and 30 < report["rule_imagined"]["n"] <= 40


def test_images_of_other_sizes_and_bytes_are_read() -> None:
    network = AttributeNetwork(4, ("a",), ("b", "c")).eval()
    image = torch.randint(0, 256, (3, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    reading = read_images(network, image, batch_size=2)
    assert isinstance(reading, Reading) and reading.count.shape == (3,)
    assert torch.allclose(reading.clean_probability, network.read(image.float() / 255).clean_probability, atol=1e-5)


def test_wrong_images_get_one_clear_line() -> None:
    network = AttributeNetwork(4, ("a",), ("b",)).eval()
    with pytest.raises(ValueError, match=r"\(2, 1, 64, 64\).*\(B, 3, H, W\)"):
        network.read(torch.zeros(2, 1, 64, 64))
    with pytest.raises(ValueError, match="at least one"):
        well_formedness(torch.zeros(0, 3, 64, 64), network)


def test_examples_are_half_clean_and_of_all_kinds() -> None:
    pool = LayerPool(make_dataset("shapes", num_samples=128))
    examples = make_examples(pool, 512, torch.Generator().manual_seed(0))
    assert isinstance(examples, Examples) and examples.images.dtype == torch.uint8
    assert 0.45 < examples.is_clean.float().mean() < 0.55
    assert len(examples.images) >= 512 - 4 * len(KINDS)
    assert examples.known[examples.is_clean].all()
    assert examples.fault[examples.is_clean].isnan().all()
    assert not examples.fault[~examples.is_clean].isnan().all()


def test_the_objective_is_least_for_the_truth() -> None:
    pool = LayerPool(make_dataset("shapes", num_samples=32))
    batch = make_examples(pool, 128, torch.Generator().manual_seed(0))
    count = len(batch.images)
    verdict = torch.where(batch.is_clean, 9.0, -9.0)
    centre, fault = torch.full((count, GRID, GRID), -9.0), torch.full((count, GRID, GRID), -9.0)
    offset, shape, colour = (torch.zeros(count, c, GRID, GRID) for c in (2, 3, 6))
    for scene in range(count):
        if not batch.fault[scene, 0].isnan():
            cells = (torch.arange(GRID) + 0.5) / GRID
            near = torch.hypot(cells - batch.fault[scene, 0], cells[:, None] - batch.fault[scene, 1]) * GRID < 2.5
            fault[scene][near] = 9.0
        for k in torch.nonzero(batch.shape[scene] >= 0)[:, 0]:
            x, y = batch.x[scene, k] * GRID, batch.y[scene, k] * GRID
            column, row = int(x), int(y)
            centre[scene, row, column] = 9.0
            offset[scene, :, row, column] = torch.stack([x - column - 0.5, y - row - 0.5])
            shape[scene, :, row, column] = 0.0
            shape[scene, batch.shape[scene, k], row, column] = 9.0
            colour[scene, :, row, column] = 0.0
            colour[scene, batch.colour[scene, k], row, column] = 9.0
    outputs = [verdict, centre, fault, offset, shape, colour]
    best = objective(tuple(outputs), batch)
    assert best < 0.3  # not 0: two centres may share a cell
    for wrong in range(6):
        changed = [value if index != wrong else -value for index, value in enumerate(outputs)]
        assert objective(tuple(changed), batch) > best + 0.05


def test_the_network_is_kept_and_a_damaged_file_is_made_anew(tmp_path, tiny) -> None:
    dataset = make_dataset("shapes", num_samples=4)
    arguments = {"steps": 2, "progress": False}
    network, report = attribute_network(dataset, tmp_path, **arguments)
    (file,) = tmp_path.glob("attribute_network_*.pth")
    assert not network.training
    assert set(report["false_accept_by_kind"]) == set(KINDS)
    assert report["false_reject"]["n"] == 40 and report["false_accept"]["n"] <= 8 * len(KINDS)

    written = file.stat().st_mtime_ns
    again, kept = attribute_network(dataset, tmp_path, **arguments)
    assert file.stat().st_mtime_ns == written and kept == report
    images = dataset.images
    expected = read_images(network, images).clean_probability
    assert torch.equal(read_images(again, images).clean_probability, expected)

    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])  # as after a crash of something else
    anew, fresh = attribute_network(dataset, tmp_path, **arguments)
    assert file.stat().st_size == len(content)
    assert {**fresh, "seconds": 0} == {**report, "seconds": 0}  # the same seed, the same network
    assert torch.equal(read_images(anew, images).clean_probability, expected)


def test_another_data_set_background_or_seed_has_a_file_of_its_own(tmp_path, tiny) -> None:
    for name, arguments in (
        ("shapes", {}),
        ("shapes", {"background": "random"}),
        ("multi_dsprites", {"max_shapes": 2}),
    ):
        attribute_network(make_dataset(name, num_samples=1, **arguments), tmp_path, steps=1, progress=False)
    attribute_network(make_dataset("shapes", num_samples=1), tmp_path, seed=1, steps=1, progress=False)
    assert len(list(tmp_path.glob("attribute_network_*.pth"))) == 4


def test_training_leaves_the_callers_random_numbers(tiny) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    attribute_network(make_dataset("shapes", num_samples=1), steps=1, progress=False)
    assert torch.equal(torch.rand(2), expected)


def test_data_without_layers_is_refused() -> None:
    with pytest.raises(TypeError, match="list cannot be evaluated"):
        attribute_network([], steps=1, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("name, background, wrong, shapes", SHIPPED)
def test_the_shipped_network_judges_well_enough(
    name: str, background: str, wrong: float, shapes: float, tmp_path
) -> None:
    """Its file is found, and its errors, measured anew, are those that it claims."""
    dataset = DRAWN[name](num_samples=1, background=background)
    network, claimed = attribute_network(dataset, tmp_path, progress=False)
    assert not list(tmp_path.iterdir()), "it was trained instead"
    report = measure(network, dataset)
    for kind in ("false_reject", "false_reject_degraded", "false_accept"):
        assert report[kind]["share"] == pytest.approx(claimed[kind]["share"], abs=0.005)
    assert report["false_reject"]["share"] < wrong
    assert report["false_accept"]["share"] < wrong
    assert report["colour_accuracy"]["share"] > 0.98 and report["shape_accuracy"]["share"] > shapes


def test_what_has_to_be_trained_is_known_before(tiny, tmp_path, monkeypatch) -> None:
    assert is_kept(make_dataset("shapes", num_samples=4))  # comes along
    few = make_dataset("shapes", num_samples=4, max_shapes=1)
    assert not is_kept(few) and not is_kept(few, tmp_path)
    monkeypatch.setattr(attribute_training, "STEPS", 2)
    attribute_network(few, tmp_path, progress=False)
    assert is_kept(few, tmp_path) and not is_kept(few)
    assert 1 < usual_minutes() < 120
