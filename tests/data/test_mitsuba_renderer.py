"""Pictures of CLEVR-like scenes: masks against geometry, light against what it must be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.data import clevr_scenes as cs
from src.data import mitsuba_renderer
from src.data.clevr_scenes import CUBE, METAL, RUBBER, SPHERE, VARIANTS, sample_scene
from src.data.mitsuba_renderer import cube_mesh, cylinder_mesh, render

from .test_clevr_scenes import put, scene_of


def test_without_mitsuba_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(ImportError, match=r"rendering needs Mitsuba 3 .*svq\[render\]") as error:
        mitsuba_renderer.load_mitsuba()
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_command_says_the_same_line(tmp_path):
    code = "import sys; sys.modules['mitsuba'] = None; sys.argv[1:] = ['output=x']; from src.render import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HYDRA_FULL_ERROR": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 2 and done.stderr.startswith("error: rendering needs Mitsuba 3")
    assert done.stderr.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mesh", [cube_mesh, cylinder_mesh])
def test_meshes_are_closed_rounded_and_look_outwards(mesh):
    points, normals, faces = mesh()
    assert np.abs(points).max() == pytest.approx(1) and np.sum(normals**2, 1) == pytest.approx(1, abs=1e-6)
    assert np.all(np.sum(points * normals, 1) > 0)
    a, b, c = np.moveaxis(points[faces].astype(float), 1, 0)
    assert np.all(np.sum(np.cross(b - a, c - a) * normals[faces].mean(1), 1) >= -1e-9)
    volume = np.sum(a * np.cross(b, c)) / 6
    sharp = 8 if mesh is cube_mesh else 2 * np.pi
    assert 0.98 * sharp < volume < sharp


class TestPictures:
    @pytest.fixture(autouse=True)
    def needs_mitsuba(self):
        pytest.importorskip("mitsuba")

    @pytest.mark.parametrize("name", VARIANTS)
    def test_masks_are_where_rays_hit_sharp_edged_objects(self, name):
        for index in range(3):
            scene = sample_scene(VARIANTS[name], 0, "val", index)
            _, owners = render(VARIANTS[name], scene, 48, 1, index)
            at = ((np.arange(48) + 0.5) / 48 * 2 - 1) * cs.HALF_WIDTH
            down, right = (axis.ravel() for axis in np.meshgrid(at, at, indexing="ij"))
            rays = np.stack([right, down, np.ones_like(right)], 1) @ cs.view_axes(scene.camera)
            far = np.stack([np.full(48 * 48, 1e9), *(cs.distance(scene, k, rays) for k in range(len(scene)))])
            expected = far.argmin(0).reshape(48, 48)
            assert owners.dtype == np.uint8 and np.mean(owners == expected) > 0.985
            for k in range(len(scene)):
                both = np.sum((owners == k + 1) & (expected == k + 1))
                assert both / np.sum((owners == k + 1) | (expected == k + 1)) > 0.9

    def test_the_same_key_gives_the_same_bytes_and_another_only_other_noise(self):
        variant = VARIANTS["hard"]
        scene = sample_scene(variant, 0, "train", 3)
        first, again, other = (render(variant, scene, 32, 8, key)[0] for key in (5, 5, 6))
        assert first.shape == (3, 32, 32) and first.dtype == np.uint8
        assert np.array_equal(first, again) and not np.array_equal(first, other)
        assert np.abs(first.astype(float) - other).mean() < 6

    def test_colours_shadows_and_mirrors(self):
        variant = VARIANTS["easy"]
        red, gray = variant.colour_names.index("red"), variant.colour_names.index("gray")
        scene = scene_of(put(SPHERE, 0.9, 0.9, 0.9), put(CUBE, -0.9, -0.9, 0.9, 0.3))
        scene.colour[:] = red, gray
        image, owners = render(variant, scene, 48, 8, 0)
        ball, cube = (image[:, owners == number].mean(1) for number in (1, 2))
        assert ball[0] > 1.3 * ball[1:].max() and cube.max() < 1.1 * cube.min()
        ground = image.mean(0)[owners == 0]
        assert 100 < ground.mean() < 200 and ground.min() < 0.75 * np.median(ground)  # shadows
        # A metal ball mirrors: it varies more over its pixels than a rubber one.
        spread = []
        for material in (RUBBER, METAL):
            scene.material[:] = material
            image, owners = render(variant, scene, 48, 8, 0)
            spread.append(image[0][owners == 1].std())
        assert spread[1] > 1.2 * spread[0]
