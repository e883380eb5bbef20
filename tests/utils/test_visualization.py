"""The figures show what they were given: every pixel, every label, nothing cut."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from src.utils.completion_figures import reliability
from src.utils.visualization import (
    block_factor_matrix,
    codebook_use,
    distribution_bars,
    mask_grid,
    picture_rows,
    reconstruction_grid,
    sample_sheet,
    save_figure,
    segmentation_overlay,
    share_bars,
    slot_colours,
)


def scene_tensors(batch: int = 3, slots: int = 4, size: int = 16, channels: int = 3):
    """Images, reconstructions, masks and slot images as a model would return them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, channels, size, size, generator=generator)
    recons = torch.rand(batch, channels, size, size, generator=generator)
    masks = torch.randn(batch, slots, 1, size, size, generator=generator).softmax(dim=1)
    slot_images = torch.rand(batch, slots, channels, size, size, generator=generator)
    return images, recons, masks, slot_images


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def assert_nothing_cut(figure: Figure) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = figure.get_tightbbox(canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height, drawn


def read_pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def shown(figure: Figure, pixels: np.ndarray, index: int, size: int) -> np.ndarray:
    """Picture number ``index`` of the figure as it stands in the saved file, brought back to ``size`` pixels.

    Fails unless each image pixel is a square block of one colour: no blur, no uneven enlargement.
    """
    left, right, bottom, top = (round(side + 0.5) for side in figure.images[index].get_extent())
    top, bottom = pixels.shape[0] - top, pixels.shape[0] - bottom
    scale, rest = divmod(right - left, size)
    assert rest == 0 and bottom - top == scale * size
    picture = pixels[top:bottom, left:right, :3]
    small = picture[::scale, ::scale]
    np.testing.assert_array_equal(picture, small.repeat(scale, axis=0).repeat(scale, axis=1))
    return small


def as_bytes(image: torch.Tensor) -> np.ndarray:
    """(C, H, W) in [0, 1] -> (H, W, 3) uint8."""
    return image.clamp(0, 1).mul(255).round().byte().expand(3, -1, -1).permute(1, 2, 0).numpy()


# ------------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("dpi", [80, 150])
def test_reconstruction_grid_shows_every_pixel_of_every_picture(tmp_path, dpi):
    images, recons, masks, slot_images = scene_tensors()
    figure = reconstruction_grid(images, recons, masks, slot_images, dpi=dpi)
    pixels = read_pixels(save_figure(figure, tmp_path / "grid.png"))
    rows = [images, recons, segmentation_overlay(images, masks), *(slot_images * masks).unbind(dim=1)]
    assert len(figure.images) == len(rows) * 3
    for row, tensor in enumerate(rows):
        for column in range(3):
            found = shown(figure, pixels, row * 3 + column, size=16)
            np.testing.assert_array_equal(found, as_bytes(tensor[column]))


def test_reconstruction_grid_of_a_model_without_slots():
    images, recons, masks, slot_images = scene_tensors()
    figure = reconstruction_grid(images, recons)
    assert_nothing_cut(figure)
    assert len(figure.images) == 2 * 3
    assert {"input", "reconstruction"} <= set(texts(figure)) and "segmentation" not in texts(figure)
    for given in ({"masks": masks}, {"slot_images": slot_images}):
        with pytest.raises(ValueError, match="one of masks and slot_images was None"):
            reconstruction_grid(images, recons, **given)


@pytest.mark.parametrize(("slots", "batch"), [(1, 8), (1, 1), (8, 2)])
def test_reconstruction_grid_labels_every_row_and_cuts_nothing(slots, batch):
    figure = reconstruction_grid(*scene_tensors(batch=batch, slots=slots))
    names = ["input", "reconstruction", "segmentation", *(f"slot {n + 1}" for n in range(slots))]
    assert [text for text in texts(figure) if text in names] == names
    assert len(figure.images) == (3 + slots) * batch
    assert_nothing_cut(figure)


def test_grids_show_at_most_the_asked_number_of_images():
    tensors = scene_tensors(batch=4, slots=2)
    assert len(reconstruction_grid(*tensors, num_images=3).images) == 5 * 3
    assert len(mask_grid(tensors[0], tensors[2], num_images=9).images) == 4 * 4


def test_mask_grid_shows_masks_as_grey_levels(tmp_path):
    images, _, masks, _ = scene_tensors(batch=2, slots=3)
    figure = mask_grid(images, masks)
    pixels = read_pixels(save_figure(figure, tmp_path / "masks.png"))
    for slot in range(3):
        np.testing.assert_array_equal(shown(figure, pixels, (2 + slot) * 2, 16), as_bytes(masks[0, slot]))
    named = [text for text in texts(figure) if text.startswith("slot ")]
    assert named == ["slot 1", "slot 2", "slot 3"]  # from 1, as blocks are
    assert_nothing_cut(figure)


def test_slot_colours_mark_the_rows(tmp_path):
    figure = mask_grid(*scene_tensors(slots=8)[::2])
    pixels = read_pixels(save_figure(figure, tmp_path / "masks.png"))[..., :3]
    beside_images = pixels[:, : round(figure.images[0].get_extent()[0])].reshape(-1, 3)
    for colour in slot_colours(8):
        assert (beside_images == np.round(np.array(colour) * 255)).all(axis=1).any()


def test_slot_colours_are_distinct_and_do_not_depend_on_the_number_of_slots():
    many = slot_colours(40)
    assert len(set(many)) == 40
    assert all(slot_colours(n) == many[:n] for n in range(40))
    assert all(0 <= value <= 1 for colour in many for value in colour)


def test_segmentation_overlay_gives_each_pixel_to_its_strongest_slot():
    masks = torch.tensor([[[[0.6, 0.1]]], [[[0.4, 0.9]]]]).unsqueeze(0)  # (1, 2, 1, 1, 2)
    overlay = segmentation_overlay(torch.zeros(1, 3, 1, 2), masks)
    first, second = torch.tensor(slot_colours(2))
    directions = torch.nn.functional.normalize(overlay[0, :, 0].T, dim=1)
    torch.testing.assert_close(directions, torch.nn.functional.normalize(torch.stack([first, second]), dim=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_dtypes_grey_images_gradients_and_overshoot(tmp_path, dtype):
    grey = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).expand(2, 1, 2, 2)
    given = grey.mul(255).byte() if dtype == torch.uint8 else (grey * 1.2 - 0.1).to(dtype).requires_grad_()
    figure = sample_sheet(given)
    found = shown(figure, read_pixels(save_figure(figure, tmp_path / "grey.png")), 1, size=2)
    np.testing.assert_array_equal(found, as_bytes(grey[1]))


def test_sample_sheet_is_read_row_by_row(tmp_path):
    images = torch.rand(5, 3, 8, 8)
    figure = sample_sheet(images)
    lefts = [round(image.get_extent()[0]) for image in figure.images]
    tops = [round(image.get_extent()[3]) for image in figure.images]
    assert len(set(lefts)) == 3 and len(set(tops)) == 2
    assert tops == sorted(tops, reverse=True) and lefts[0] < lefts[1]
    pixels = read_pixels(save_figure(figure, tmp_path / "sheet.png"))
    np.testing.assert_array_equal(shown(figure, pixels, 4, 8), as_bytes(images[4]))


@pytest.mark.parametrize(("given", "expected"), [(70, 64), (3, 3), (1, 1)])
def test_sample_sheet_shows_up_to_num_samples(given, expected):
    figure = sample_sheet(torch.rand(given, 3, 8, 8), "Drawn at temperature 0.7")
    assert len(figure.images) == expected
    assert "Drawn at temperature 0.7" in " ".join(" ".join(texts(figure)).split())
    assert_nothing_cut(figure)


# -------------------------------------------------------------------------------------------------- charts


@pytest.mark.parametrize("blocks", [1, 5, 16])
def test_codebook_use_has_one_titled_panel_a_block(blocks):
    counts = torch.zeros(blocks, 8, dtype=torch.int64)
    counts[:, :4] = 25
    figure = codebook_use(counts)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == [f"block {b + 1}\nperplexity 4.0, 50.0 % of 8 used" for b in range(blocks)]
    assert_nothing_cut(figure)


def test_codebook_use_draws_sorted_shares_and_shows_the_highest():
    figure = codebook_use(torch.tensor([[1.0, 7.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0]]))
    first, second = (axes.patches[0].get_data().values for axes in figure.axes)
    np.testing.assert_allclose(first, [70, 20, 10, 0])
    np.testing.assert_allclose(second, [25, 25, 25, 25])
    assert figure.axes[1].get_ylim()[1] > 70 and figure.axes[0].get_ylim()[0] == 0
    assert "perplexity 4.0, 100.0 % of 4 used" in figure.axes[1].get_title(loc="left")


def test_codebook_use_says_when_nothing_was_counted():
    figure = codebook_use(np.array([[0, 0], [1, 0]]))
    assert figure.axes[0].get_title(loc="left") == "block 1\nno code counted"
    assert "perplexity 1.0, 50.0 % of 2 used" in figure.axes[1].get_title(loc="left")


@pytest.mark.parametrize("blocks", [1, 16])
@pytest.mark.parametrize("factors", [("colour",), ("colour", "shape", "size", "x", "y")])
def test_block_factor_matrix_is_annotated(blocks, factors):
    matrix = torch.linspace(0, 1, blocks * len(factors)).reshape(blocks, -1)
    figure = block_factor_matrix(matrix, factors)
    found = texts(figure)
    assert set(factors) <= set(found) and {f"block {b + 1}" for b in range(blocks)} <= set(found)
    assert [t.get_text() for t in figure.axes[0].texts] == [f"{value:.2f}" for value in matrix.flatten().tolist()]
    assert len(figure.axes) == 2 and "information" in figure.axes[1].get_ylabel()
    assert_nothing_cut(figure)


def test_block_factor_matrix_says_what_is_unknown_and_keeps_one_colour_scale():
    figure = block_factor_matrix(np.array([[np.nan, -0.003], [0.2, 0.1]]), ["shape", "x"])
    assert [t.get_text() for t in figure.axes[0].texts] == ["n/a", "0.00", "0.20", "0.10"]
    assert figure.axes[0].images[0].get_clim() == (0, 1)


# --------------------------------------------------------------------------------------------------- files


def test_save_figure_makes_folders_and_keeps_only_the_file_at_its_resolution(tmp_path):
    figure = sample_sheet(torch.rand(1, 3, 8, 8), dpi=100)
    path = save_figure(figure, tmp_path / "new" / "folder" / "sheet")
    assert path == tmp_path / "new" / "folder" / "sheet.png"
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]
    width, height = figure.get_size_inches()
    assert read_pixels(path).shape[:2] == (round(100 * height), round(100 * width))


def test_save_figure_keeps_the_old_file_when_drawing_fails(tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    path.write_bytes(b"old")
    figure = sample_sheet(torch.rand(1, 3, 8, 8))

    def half_way(draft, **_):
        draft.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(figure, "savefig", half_way)
    with pytest.raises(OSError, match="no space left"):
        save_figure(figure, path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_saved_figures_are_opaque_and_light_even_in_a_dark_style(tmp_path):
    with matplotlib.rc_context({"text.color": "white", "figure.facecolor": "black", "savefig.transparent": True}):
        path = save_figure(codebook_use(torch.ones(1, 4)), tmp_path / "use.png")
        assert matplotlib.rcParams["text.color"] == "white"  # the user's own style is left alone
    pixels = read_pixels(path)
    assert (pixels[..., 3] == 255).all()
    assert (pixels[0, 0, :3] > 230).all()
    assert (pixels[..., :3].max(axis=2) < 80).any()  # dark text


@pytest.mark.slow
def test_figures_do_not_import_pyplot(tmp_path):
    code = (
        "import sys, torch; from src.utils.visualization import sample_sheet, save_figure;"
        "save_figure(sample_sheet(torch.rand(1, 3, 4, 4)), sys.argv[1]);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "sheet.png")]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)


# ------------------------------------------------------------------------------------------------ bad input


def bad_calls():
    images, recons, masks, slot_images = scene_tensors(batch=2, slots=3, size=8)

    def grid(**changes):
        given = {"images": images, "recons": recons, "masks": masks, "slot_images": slot_images} | changes
        return lambda _: reconstruction_grid(**given)

    wrong_shape = "{} had shape {} but expected {}"
    return {
        "image without batch": (
            grid(images=images[0]),
            wrong_shape.format("images", "(3, 8, 8)", "(B, C, H, W)"),
        ),
        "two channels": (grid(images=images[:, :2]), "(2, 2, 8, 8) but expected (B, 1 or 3, H, W)"),
        "other batch": (
            grid(recons=recons[:1]),
            wrong_shape.format("recons", "(1, 3, 8, 8)", "(2, 3, 8, 8)"),
        ),
        "flat masks": (
            grid(masks=masks[:, :, 0]),
            wrong_shape.format("masks", "(2, 3, 8, 8)", "(2, N, 1, 8, 8)"),
        ),
        "fewer slot images": (
            grid(slot_images=slot_images[:, :2]),
            wrong_shape.format("slot_images", "(2, 2, 3, 8, 8)", "(2, 3, 3, 8, 8)"),
        ),
        "nan": (grid(recons=recons * float("nan")), "recons held NaN or infinity"),
        "no image": (lambda _: sample_sheet(images[:0]), "images had shape (0, 3, 8, 8)"),
        "zero images": (grid(num_images=0), "num_images was 0 but expected at least 1"),
        "zero samples": (lambda _: sample_sheet(images, num_samples=0), "num_samples was 0"),
        "counts": (lambda _: codebook_use(torch.ones(4)), "counts had shape (4,) but expected (M, K)"),
        "negative count": (lambda _: codebook_use(torch.tensor([[-1, 2]])), "counts held -1"),
        "matrix": (lambda _: block_factor_matrix(torch.ones(3), ["x"]), "matrix had shape (3,)"),
        "names": (lambda _: block_factor_matrix(torch.ones(2, 3), ["x"]), "factor_names had length 1"),
        "suffix": (lambda folder: save_figure(Figure(), folder / "x.bmpx"), "the suffix must be one of"),
        "folder": (lambda folder: save_figure(Figure(), folder), "is a folder; give the path of a file"),
    }


@pytest.mark.parametrize("case", bad_calls())
def test_bad_input_gets_one_clear_line(case, tmp_path):
    call, message = bad_calls()[case]
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)


def test_picture_rows_are_named_and_shown_pixel_by_pixel(tmp_path):
    rows = {"0.7": torch.rand(3, 3, 8, 8), "1": torch.rand(2, 3, 8, 8)}
    figure = picture_rows(rows, title="Temperatures")
    assert texts(figure) == ["Temperatures", "0.7", "1"]
    pixels = read_pixels(save_figure(figure, tmp_path / "rows.png"))
    for index, image in enumerate([*rows["0.7"], *rows["1"]]):
        expected = image.mul(255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(shown(figure, pixels, index, 8), expected)
    assert_nothing_cut(figure)
    with pytest.raises(ValueError, match="rows had images of the sizes .* but expected one size"):
        picture_rows({"a": torch.rand(1, 3, 8, 8), "b": torch.rand(1, 3, 4, 4)})
    with pytest.raises(ValueError, match="rows had images of the sizes"):
        picture_rows({})


def test_distribution_bars_show_both_shares_of_each_value():
    counts = {"names": ["0", "1", "2 or more"], "data": [0.0, 0.25, 0.75], "drawn": [0.1, 0.4, 0.5], "distance": 0.25}
    colours = {"names": ["red", "blue"], "data": [0.5, 0.5], "drawn": [1.0, 0.0], "distance": 0.5}
    figure = distribution_bars({"count": counts, "colour": colours})
    heights = [[bar.get_height() for bar in axes.patches] for axes in figure.axes]
    assert heights == [[0, 25, 75, 10, 40, 50], [50, 50, 100, 0]]
    written = texts(figure)
    assert {"count: 0.250 apart", "colour: 0.500 apart", "2 or more", "red", "data", "drawn"} <= set(written)
    assert_nothing_cut(figure)
    with pytest.raises(ValueError, match="count had 1 shares in drawn but expected 3"):
        distribution_bars({"count": counts | {"drawn": [1.0]}})
    with pytest.raises(ValueError, match="no properties"):
        distribution_bars({})


def test_distributions_say_where_places_are_and_how_far_true_scenes_are_apart():
    places = {"names": ["1", "2"], "data": [0.5, 0.5], "drawn": [1.0, 0.0], "distance": 0.5, "true": 0.04}
    figure = distribution_bars({"x": places, "y": places})
    assert {"x: 0.500 apart\n(true scenes 0.040)", "quarter, from the top"} <= set(texts(figure))
    figure = distribution_bars(
        {"count": {**places, "n": 1000}, "y": {**places, "n": 12345}, "shape": {**places, "n": 9}}
    )
    assert {"objects in a scene · 1,000 scenes", "quarter, from the top · 12,345 objects", "9 objects"} <= set(
        texts(figure)
    )
    assert_nothing_cut(figure)


def test_every_panel_has_numbers_on_its_ticks_and_no_dot_is_cut():
    bins = [{"predicted": 0.02, "right": 0.0, "n": 5}, {"predicted": 0.98, "right": 1.0, "n": 50}]
    for figure in (reliability([{"bins": bins, "ece": 0.1}] * 5), codebook_use(torch.ones(5, 8))):
        FigureCanvasAgg(figure).draw()
        for panel in [axes for axes in figure.axes if axes.axison]:
            for axis in (panel.xaxis, panel.yaxis):
                assert any(tick.label1.get_visible() and tick.label1.get_text() for tick in axis.get_major_ticks())
            assert not any(dots.get_clip_on() for dots in panel.collections)
        assert_nothing_cut(figure)


def test_a_bar_that_is_not_there_leaves_its_place_and_nothing_overlaps() -> None:
    shares = {
        "codes": {"as fitted": (0.9, 0.8, 1.0), "control": (0.5, 0.4, 0.6)},
        "probes": {"as fitted": (0.7, 0.6, 0.8), "control": None},
    }
    figure = share_bars(
        shares, 0.5, title="A title that is longer than the figure is wide, " * 3, label="right answers"
    )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    assert len(axes.patches) == 3 and axes.get_ylabel() == "right answers"
    title, legend = figure._suptitle, figure.legends[0]  # pyright: ignore[reportAttributeAccessIssue]
    assert not title.get_window_extent().overlaps(legend.get_window_extent())
    assert_nothing_cut(figure)


def test_shares_stand_beside_each_other_with_their_values() -> None:
    shares = {
        "vectors": {"as fitted": (0.99, 0.98, 1.0), "not met before": (0.9, 0.85, 0.95)},
        "a long name": {"as fitted": (0.5, 0.4, 0.6), "not met before": (0.0, 0.0, 0.1)},
    }
    figure = share_bars(shares, 0.25, title="Right answers")
    assert_nothing_cut(figure)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [0.99, 0.5, 0.9, 0.0]  # bar by bar, group by group
    shown = texts(figure)
    assert {"0.990", "0.000", "vectors", "not met before", "chance", "Right answers"} <= set(shown)
    with pytest.raises(ValueError, match="the same ones, at least one, in every group"):
        share_bars({"a": {"x": (0, 0, 0)}, "b": {"y": (0, 0, 0)}})
