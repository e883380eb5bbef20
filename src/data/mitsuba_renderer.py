"""CLEVR-like pictures of scene descriptions, path traced with Mitsuba 3, and who owns each of their pixels.

Legend: S objects of a scene, H = W = image_size. Mitsuba's `scalar_rgb` variant with one thread: the bytes depend on
the scene, the sizes and the machine alone. The look is CLEVR's: a grey ground, three square lamps in dim surroundings,
objects with rounded edges, of rubber (matte, with a faint highlight) or metal (a tinted, slightly blurred mirror). The
definition is frozen (docs/clevr_like.md), like that of the scenes.

Light adds up, so each source is traced alone, which is less noisy than drawing one of them for each path. Lamps light
matte surfaces directly only: what metal throws from a lamp onto the ground is thin and noisy, and CLEVR shows none.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .clevr_scenes import CUBE, HALF_WIDTH, METAL, SPHERE, TARGET, Scene, Variant

GROUND = 0.42  # reflectance
AMBIENT = 0.22  # radiance of the surroundings
LAMP_SIDE = 1.5  # scene units
LAMP_POWERS = (400.0, 150.0, 220.0)  # key, fill, back
DEPTH = 3  # longest light path, in segments; 2 is direct light
DIRECT_SHARE = 0.5  # of the samples, for the direct light of a lamp, which is hardly noisy
OWNER_RAYS = 3  # squared, rays a pixel that decide its owner
PIXEL = 0.4  # standard deviation of the Gaussian over which a pixel gathers light, in pixels
EDGE = 0.06  # radius of rounded edges, as a share of an object's half height
METAL_ROUGHNESS, RUBBER_ROUGHNESS = 0.2, 0.6


class Mesh(NamedTuple):
    """A closed surface: points and their normals (P, 3) float32, faces (F, 3) uint32, seen from outside."""

    points: np.ndarray
    normals: np.ndarray
    faces: np.ndarray


def load_mitsuba() -> Any:
    """The module, set to one thread of its `scalar_rgb` variant.

    Raises:
        ImportError: Mitsuba is not installed; one line says how to install it.
    """
    try:
        import mitsuba
        from drjit import set_thread_count
    except ImportError as error:
        raise ImportError(
            f"rendering needs Mitsuba 3 ({error}); install it with: pip install mitsuba, or the extra: svq[render]"
        ) from error
    if mitsuba.variant() != "scalar_rgb":
        mitsuba.set_variant("scalar_rgb")
    mitsuba.set_log_level(mitsuba.LogLevel.Error)  # or it warns of numbers of samples that it rounds up
    set_thread_count(1)
    return mitsuba


def render(variant: Variant, scene: Scene, image_size: int, samples: int, key: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture (3, H, W) uint8 and the owners of its pixels (H, W) uint8: 0 the ground, k + 1 object k.

    A pixel belongs to whoever is seen by most of OWNER_RAYS squared rays through it (of equal ones to the ground, then
    to the earlier object).

    Args:
        samples: light paths a pixel and source of light; Mitsuba may round it up.
        key: starts the renderer's random numbers.
    """
    mi = load_mitsuba()
    bodies = {f"object_{k}": _object(mi, variant, scene, k) for k in range(len(scene))}
    shares = _owner_shares(mi, scene, bodies, image_size, key)
    light = _light(mi, scene, bodies, image_size, samples, key, shares[1:][scene.material == METAL].sum(0))
    return np.rint(255 * _from_linear(light)).astype(np.uint8).transpose(2, 0, 1), shares.argmax(0).astype(np.uint8)


def _light(
    mi: Any, scene: Scene, bodies: dict[str, Any], size: int, samples: int, key: int, metal: np.ndarray
) -> np.ndarray:
    """What reaches each pixel (H, W, 3), linear; metal (H, W) is the share of a pixel that shows metal."""
    metal = metal[:, :, None]
    light = np.zeros((size, size, 3))
    for number, source in enumerate(_sources(mi, scene)):
        world = mi.load_dict({"type": "scene", "source": source, **bodies, "ground": _ground(mi)})

        def trace(depth: int, share: float, world: Any = world, seed: int = key + number) -> np.ndarray:
            path = mi.load_dict({"type": "path", "max_depth": depth, "hide_emitters": True})
            paths = max(1, round(samples * share))
            camera = _camera(mi, scene, size, paths, {"type": "gaussian", "stddev": PIXEL})
            return np.array(mi.render(world, sensor=camera, integrator=path, seed=seed))[:, :, :3]

        if source["type"] == "constant":
            light += trace(DEPTH, 1)
        elif metal.any():
            light += (1 - metal) * trace(2, DIRECT_SHARE) + metal * trace(DEPTH, 1)
        else:
            light += trace(2, DIRECT_SHARE)
    return light


def _owner_shares(mi: Any, scene: Scene, bodies: dict[str, Any], size: int, key: int) -> np.ndarray:
    """Share of each pixel's rays that see the ground, object 0, 1, …: (S + 1, H, W)."""
    world = mi.load_dict({"type": "scene", **bodies})
    index = mi.load_dict({"type": "aov", "aovs": "owner:shape_index"})
    fine = _camera(mi, scene, size * OWNER_RAYS, 1, {"type": "box"})
    seen = np.array(mi.render(world, sensor=fine, integrator=index, seed=key))[:, :, -1]
    # Mitsuba's numbers are 0 for nothing and i + 1 for its shape i, in an order of its own.
    names = [shape.id() for shape in world.shapes()]
    owner = np.array([0, *(list(bodies).index(name) + 1 for name in names)])
    rays = owner[np.rint(seen).astype(np.int64)].reshape(size, OWNER_RAYS, size, OWNER_RAYS)
    return np.stack([(rays == number).mean((1, 3)) for number in range(len(bodies) + 1)])


def _from_linear(light: np.ndarray) -> np.ndarray:
    """Light as channels of an sRGB picture, 0 to 1."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _camera(mi: Any, scene: Scene, size: int, samples: int, pixel: dict[str, Any]) -> Any:
    """A square camera; `pixel` is how the samples around a pixel make it up."""
    return mi.load_dict(
        {
            "type": "perspective",
            "fov": float(np.degrees(2 * np.arctan(HALF_WIDTH))),
            "to_world": mi.ScalarTransform4f().look_at(scene.camera.tolist(), list(TARGET), [0, 0, 1]),
            "film": {
                "type": "hdrfilm",
                "width": size,
                "height": size,
                "pixel_format": "rgb",
                "component_format": "float32",
                "rfilter": pixel,
            },
            "sampler": {"type": "multijitter" if samples > 1 else "independent", "sample_count": samples},
        }
    )


def _ground(mi: Any) -> Any:
    return mi.load_dict(
        {
            "type": "rectangle",
            "to_world": mi.ScalarTransform4f().scale([200, 200, 1]),
            "surface": {"type": "diffuse", "reflectance": {"type": "rgb", "value": [GROUND] * 3}},
        }
    )


def _sources(mi: Any, scene: Scene) -> Iterator[dict[str, Any]]:
    """What shines: the surroundings, and three square lamps towards the origin."""
    yield {"type": "constant", "radiance": {"type": "rgb", "value": [AMBIENT] * 3}}
    for position, power in zip(scene.lamps, LAMP_POWERS, strict=True):
        to_origin = mi.ScalarTransform4f().look_at(position.tolist(), [0, 0, 0], [0, 0, 1])
        radiance = power / (np.pi * LAMP_SIDE * LAMP_SIDE)
        yield {
            "type": "rectangle",
            "to_world": to_origin @ mi.ScalarTransform4f().scale([LAMP_SIDE / 2, LAMP_SIDE / 2, 1]),
            "emitter": {"type": "area", "radiance": {"type": "rgb", "value": [radiance] * 3}},
        }


def _surface(colour: tuple[float, float, float], material: int) -> dict[str, Any]:
    look: dict[str, Any] = {"type": "principled", "base_color": {"type": "rgb", "value": list(colour)}}
    if material == METAL:
        return {**look, "metallic": 0.9, "roughness": METAL_ROUGHNESS, "specular": 0.8}
    return {**look, "metallic": 0.0, "roughness": RUBBER_ROUGHNESS, "specular": 0.3}


def _object(mi: Any, variant: Variant, scene: Scene, k: int) -> Any:
    surface = _surface(variant.colour_values[scene.colour[k]], scene.material[k])
    if scene.shape[k] == SPHERE:
        radius = float(scene.radius[k])
        return mi.load_dict({"type": "sphere", "center": scene.centre[k].tolist(), "radius": radius, "bsdf": surface})
    mesh = cube_mesh() if scene.shape[k] == CUBE else cylinder_mesh()
    cos, sin = np.cos(scene.rotation[k]), np.sin(scene.rotation[k])
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(surface)
    made = mi.Mesh(f"object_{k}", len(mesh.points), len(mesh.faces), props=properties, has_vertex_normals=True)
    entries = mi.traverse(made)
    entries["vertex_positions"] = (mesh.points * scene.half_height[k] @ turn.T + scene.centre[k]).ravel()
    entries["vertex_normals"] = (mesh.normals @ turn.T).ravel()
    entries["faces"] = mesh.faces.ravel()
    entries.update()
    return made


@cache
def cube_mesh() -> Mesh:
    """A cube from -1 to 1 along each axis, its edges and corners rounded: the same bent grid on each of six sides."""
    bent = 1 - EDGE + EDGE * np.tan(np.linspace(0, np.pi / 4, 5))  # where a side leaves its plane, to the edge's middle
    ticks = np.concatenate([-bent[::-1], bent])
    u, v = np.meshgrid(ticks, ticks, indexing="ij")
    parts = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            sharp = np.roll(np.stack([np.full_like(u, sign), u, v], -1), axis, -1)
            inner = np.clip(sharp, EDGE - 1, 1 - EDGE)
            out = sharp - inner
            out /= np.sqrt(np.sum(out * out, -1, keepdims=True))
            parts.append(_grid_mesh(inner + EDGE * out, out))
    return _join(parts)


@cache
def cylinder_mesh(around: int = 96) -> Mesh:
    """An upright cylinder of radius and half height 1 with rounded rims: a profile turned about the vertical."""
    arc = np.linspace(0, np.pi / 2, 6)
    upper = np.stack([1 - EDGE + EDGE * np.sin(arc), 1 - EDGE + EDGE * np.cos(arc)], 1)  # distance to the axis, height
    normal = np.stack([np.sin(arc), np.cos(arc)], 1)
    half = np.concatenate([[[0.0, 1.0]], upper]), np.concatenate([[[0.0, 1.0]], normal])
    points, normals = (np.concatenate([part, part[::-1] * [1, -1]]) for part in half)
    angle = np.linspace(0, 2 * np.pi, around + 1)
    turned = [
        np.stack([part[:, :1] * np.cos(angle), part[:, :1] * np.sin(angle), np.repeat(part[:, 1:], around + 1, 1)], -1)
        for part in (points, normals)
    ]
    return _grid_mesh(*turned)


def _grid_mesh(points: np.ndarray, normals: np.ndarray) -> Mesh:
    """The surface through a grid of points (rows, columns, 3), two triangles a cell."""
    rows, columns, _ = points.shape
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    first = np.stack([corner, corner + columns, corner + 1], 1)
    second = np.stack([corner + 1, corner + columns, corner + columns + 1], 1)
    faces = np.concatenate([first, second])
    points, normals = points.reshape(-1, 3), normals.reshape(-1, 3)
    a, b, c = np.moveaxis(points[faces], 1, 0)
    inwards = np.sum(np.cross(b - a, c - a) * normals[faces].sum(1), 1) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return Mesh(points.astype(np.float32), normals.astype(np.float32), faces.astype(np.uint32))


def _join(parts: list[Mesh]) -> Mesh:
    starts = np.cumsum([0, *(len(part.points) for part in parts)])
    faces = [part.faces + np.uint32(start) for part, start in zip(parts, starts, strict=False)]
    points, normals = (np.concatenate([part[i] for part in parts]) for i in range(2))
    return Mesh(points, normals, np.concatenate(faces))
