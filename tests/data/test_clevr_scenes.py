"""Descriptions of CLEVR-like scenes: a pure function of the index, and every rule of positions holds."""

from __future__ import annotations

import numpy as np
import pytest

from src.data import clevr_scenes as cs
from src.data.clevr_scenes import CUBE, CYLINDER, SPHERE, VARIANTS, Scene, sample_scene
from src.data.scenes import SPLITS

CHECKSUMS = {  # docs/clevr_like.md has them too
    ("easy", "train"): "07b578e56d8406a122962426379e70e31de1738032426412cef3e3a9d397a0ea",
    ("easy", "val"): "3ebcc3af31eb8a902ea70d29952b238408127e40cab000b3f833f06c8118fa02",
    ("easy", "test"): "2b2f800526ae95991928914357dfa5c52a84fccf8497a98793dddfe4614154f0",
    ("hard", "train"): "79b43e6557ce09ceffde319bedcc8b2557a1540e6a7d5f5cd1e124ad3ca7b704",
    ("hard", "val"): "ad00fa2b4b5920076d422b29443210ddf69377152fc2f8c7471b8d4f6b91ba3e",
    ("hard", "test"): "7ed174154fe597042a531dd6a99b4f734b03d9bdb203cd438014520da0990d1c",
}


@pytest.fixture(scope="module", params=VARIANTS)
def scenes(request) -> tuple[cs.Variant, list[Scene]]:
    variant = VARIANTS[request.param]
    return variant, [sample_scene(variant, 3, "train", index) for index in range(120)]


def put(shape: int, x: float, y: float, radius: float = 1.0, rotation: float = 0.0) -> tuple:
    return shape, radius, x, y, rotation


def scene_of(*objects: tuple, camera: tuple[float, float, float] = cs.CAMERA) -> Scene:
    shape, radius, x, y, rotation = (np.array(column) for column in zip(*objects, strict=True))
    nothing = np.zeros(len(objects), int)
    return Scene(shape, nothing, nothing, nothing, radius, x, y, rotation, np.array(camera), np.array(cs.LAMPS))


@pytest.mark.parametrize(("name", "split"), CHECKSUMS)
def test_the_definition_is_frozen(name, split):
    scenes = [sample_scene(VARIANTS[name], 0, split, index) for index in range(16)]
    assert cs.checksum(scenes) == CHECKSUMS[name, split]


def test_a_scene_depends_on_variant_seed_split_and_index_only(scenes):
    variant, made = scenes
    assert cs.checksum([sample_scene(variant, 3, "train", 7)]) == cs.checksum([made[7]])
    others = [
        [sample_scene(variant, 3, split, index) for split in SPLITS for index in range(20)],
        [sample_scene(variant, 4, split, index) for split in SPLITS for index in range(20)],
        [sample_scene(other, 3, "train", index) for other in VARIANTS.values() for index in range(20)],
    ]
    for each in others:
        assert len({cs.checksum([scene]) for scene in each}) == len(each)
    noise = {cs.noise_seed(v, 3, s, i) for v in VARIANTS.values() for s in SPLITS for i in range(20)}
    assert len(noise) == 120 and all(0 <= value < 2**31 for value in noise)


def test_objects_keep_their_distances(scenes):
    variant, made = scenes
    assert {len(scene) for scene in made} == {variant.min_objects, variant.max_objects}
    for scene in made:
        across, _, depth = cs.project(scene.camera, np.stack([scene.x, scene.y, 0 * scene.x], 1)).T
        assert np.all(np.abs([scene.x, scene.y]) <= cs.AREA)
        for i in range(len(scene)):
            for j in range(i):
                gap = np.hypot(scene.x[i] - scene.x[j], scene.y[i] - scene.y[j]) - scene.radius[i] - scene.radius[j]
                assert gap >= cs.MIN_DISTANCE - 1e-9
                # Sideways, the same distance is smaller in the picture the farther away.
                side = 2 * cs.HALF_WIDTH * ((across[i] - 0.5) * depth[i] - (across[j] - 0.5) * depth[j])
                assert abs(side) >= cs.MARGIN - 1e-9


def test_nothing_is_cut_and_at_least_half_of_everything_shows(scenes):
    _, made = scenes
    for scene in made:
        for k in range(len(scene)):
            across = cs.project(scene.camera, cs.outline(scene, k))[:, :2]
            assert across.min() >= cs.BORDER and across.max() <= 1 - cs.BORDER
        assert cs.visible_shares(scene).min() >= cs.MIN_VISIBLE


def test_camera_and_lamps_are_jittered_and_properties_cover_all_choices(scenes):
    variant, made = scenes
    cameras, lamps = np.array([scene.camera for scene in made]), np.array([scene.lamps for scene in made])
    for values, centre, jitter in ((cameras, cs.CAMERA, cs.CAMERA_JITTER), (lamps, cs.LAMPS, cs.LAMP_JITTER)):
        away = values - np.array(centre)
        assert np.all(np.abs(away) <= jitter) and np.all(np.abs(away).max(0) > 0.9 * jitter)
    for key, choices in (
        *(("shape", cs.SHAPE_NAMES), ("colour", variant.colour_names), ("size", variant.size_names)),
        ("material", variant.materials),
    ):
        seen = np.concatenate([getattr(scene, key) for scene in made])
        assert set(seen) == set(range(len(choices))), key
    cubes = np.concatenate([scene.rotation[scene.shape == CUBE] for scene in made])
    assert 0 <= cubes.min() < 0.1 and np.pi / 2 - 0.1 < cubes.max() < np.pi / 2
    assert all(np.all(scene.rotation[scene.shape != CUBE] == 0) for scene in made)


def test_palettes():
    easy, hard = VARIANTS["easy"], VARIANTS["hard"]
    assert len(set(easy.colour_names)) == 8 and len(set(hard.colour_names)) == 48
    for variant in (easy, hard):
        values = np.array(variant.colour_values)
        assert values.shape == (len(variant.colour_names), 3) and values.min() >= 0 and values.max() <= 1
        shown = values ** (1 / 2.2)
        apart = np.abs(shown[:, None] - shown).max(-1)
        assert np.sort(apart, 1)[:, 1].min() > 0.05  # no two look alike
    assert (
        cs.to_linear(0) == 0 and cs.to_linear(1) == pytest.approx(1) and cs.to_linear(0.5) == pytest.approx(0.2140411)
    )


def test_the_camera_sees_what_is_right_up_and_near_where_it_should_be():
    camera = np.array([0.0, -10.0, cs.TARGET[2]])  # looks along y
    right, up, near = cs.project(camera, np.array([[1.0, 0, 0.5], [0, 0, 1.5], [0, -5, 0.5]]))
    half = 10 * cs.HALF_WIDTH  # of the picture, at the target
    assert right == pytest.approx([0.5 + 0.5 / half, 0.5, 10])
    assert up == pytest.approx([0.5, 0.5 - 0.5 / half, 10])
    assert near == pytest.approx([0.5, 0.5, 5])


@pytest.mark.parametrize(
    ("shape", "hit", "depth"),
    [  # a ray along y at height z and at x hits, at that y
        (SPHERE, (0.0, 1.0), -1.0),
        (SPHERE, (0.6, 1.0), -0.8),
        (CYLINDER, (0.6, 0.1), -0.8),
        (CYLINDER, (0.0, 1.95), -1.0),
        (CUBE, (0.7, 0.1), -(0.5**0.5)),
    ],
)
def test_rays_hit_objects_where_geometry_says(shape, hit, depth):
    scene = scene_of(put(shape, 0, 0), camera=(hit[0], -8.0, hit[1]))
    assert cs.distance(scene, 0, np.array([[0, 1.0, 0]])) == pytest.approx([8 + depth])


@pytest.mark.parametrize(
    ("shape", "ray"), [(SPHERE, (0.9, 1.9)), (CYLINDER, (1.1, 1.0)), (CYLINDER, (0.0, 2.1)), (CUBE, (0.8, 0.1))]
)
def test_rays_miss_what_is_beside(shape, ray):
    scene = scene_of(put(shape, 0, 0), camera=(ray[0], -8.0, ray[1]))
    assert np.isinf(cs.distance(scene, 0, np.array([[0, 1.0, 0]]))).all()
    assert np.isinf(cs.distance(scene, 0, np.array([[0, -1.0, 0]]))).all()  # behind the camera


def test_a_turned_cube_and_the_outline_agree_with_the_rays():
    for objects in (put(CUBE, 0.5, -0.3, 1.0, 0.4), put(CYLINDER, -0.5, 0.2), put(SPHERE, 0.3, 0.4, 0.7)):
        scene = scene_of(objects)
        at = ((np.arange(200) + 0.5) / 200 * 2 - 1) * cs.HALF_WIDTH
        down, right = np.meshgrid(at, at, indexing="ij")
        rays = np.stack([right.ravel(), down.ravel(), np.ones(40000)], 1) @ cs.view_axes(scene.camera)
        seen = np.isfinite(cs.distance(scene, 0, rays)).reshape(200, 200)
        box = cs.project(scene.camera, cs.outline(scene, 0))[:, :2]
        rows, columns = (np.nonzero(seen.any(axis))[0] for axis in (1, 0))
        found = [columns[0] / 200, columns[-1] / 200, rows[0] / 200, rows[-1] / 200]
        low, high = box.min(0), box.max(0)
        assert found == pytest.approx([low[0], high[0], low[1], high[1]], abs=0.008)


def test_what_is_hidden_does_not_show():
    away = -np.array(cs.CAMERA[:2]) / np.hypot(*cs.CAMERA[:2])
    front, back = put(SPHERE, 0, 0, 1.0), put(SPHERE, *(2.3 * away), 0.3)
    assert list(cs.visible_shares(scene_of(front, back))) == [1, 0]
    aside = put(SPHERE, 2.0, 2.0, 0.3)
    assert list(cs.visible_shares(scene_of(front, aside))) == [1, 1]


def test_factors_are_padded_and_say_where_things_are():
    scene = scene_of(put(SPHERE, 0, 0), put(CUBE, -1, 2, 1.0, 0.7))
    factors = cs.scene_factors(VARIANTS["hard"], scene)
    assert factors["present"].tolist() == [True, True, False]
    assert factors["shape"].tolist() == [SPHERE, CUBE, -1] and factors["shape"].dtype == np.int64
    x, y, depth = cs.project(scene.camera, np.array([0.0, 0, 1]))
    assert [factors[key][0] for key in ("x", "y", "depth", "rotation")] == pytest.approx([x, y, depth, 0])
    assert factors["rotation"][1] == pytest.approx(0.7) and factors["x"].dtype == np.float32
    assert all(np.isnan(factors[key][2]) for key in ("x", "y", "depth", "rotation"))
