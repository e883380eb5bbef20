"""CLEVR-like pictures of scene descriptions, path traced with Mitsuba 3, and who owns each of their pixels.

Legend: S objects of a scene, H = W = image_size. Mitsuba's `scalar_rgb` variant with one thread: the bytes depend on
the scene, the sizes and the machine alone. The look is CLEVR's: a grey ground, three area lamps in a dim surrounding,
objects with rounded edges, rubber (matte with a faint highlight) or metal (a tinted, slightly blurred mirror).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .clevr_scenes import CUBE, HALF_WIDTH, METAL, SPHERE, TARGET, Scene, Variant

OWNER_RAYS = 3  # squared, rays a pixel that decide its owner
DEPTH = 3  # parts of a light path. Lamps light matte surfaces directly only (2): what they throw on via others is
# mostly caustics, thin and noisy; their light in mirrors and that of the surroundings is traced to the full depth
DIRECT_SHARE = 0.5  # of the samples, for the direct light of a lamp, which is hardly noisy
GROUND = 0.42  # reflectance
AMBIENT = 0.22  # radiance of the surroundings
LAMP_SIZES = (1.5, 1.5, 1.5)  # side of each square lamp: key, fill, back
LAMP_POWERS = (400.0, 150.0, 220.0)
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
        import drjit
        import mitsuba
    except ImportError as error:
        raise ImportError(
            f"rendering needs Mitsuba 3 ({error}); install it with: pip install mitsuba, or the extra: svq[render]"
        ) from error
    if mitsuba.variant() != "scalar_rgb":
        mitsuba.set_variant("scalar_rgb")
    mitsuba.set_log_level(mitsuba.LogLevel.Error)  # or it warns of numbers of samples that it rounds up
    drjit.set_thread_count(1)
    return mitsuba


def render(variant: Variant, scene: Scene, image_size: int, samples: int, key: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture (3, H, W) uint8 and the owners of its pixels (H, W) uint8: 0 the ground, k + 1 object k.

    A pixel belongs to whoever is seen by most of OWNER_RAYS squared rays through it (of equal ones to the ground, then
    to the earlier object).

    Args:
        samples: light paths a pixel.
        key: starts the renderer's random numbers.
    """
    mi = load_mitsuba()
    shapes = [_object(mi, variant, scene, k) for k in range(len(scene))]
    bodies = {f"object_{k}": shape for k, shape in enumerate(shapes)}
    index = mi.load_dict({"type": "aov", "aovs": "owner:shape_index"})
    world = mi.load_dict({"type": "scene", **bodies})
    fine = _camera(mi, scene, image_size * OWNER_RAYS, 1, {"type": "box"})
    seen = np.array(mi.render(world, sensor=fine, integrator=index, seed=key))[:, :, -1]
    owner_shares = _shares(np.rint(seen).astype(np.int64), _indices(world, shapes))
    metal_share = owner_shares[1:][scene.material == METAL].sum(0)[:, :, None]

    lit = {**bodies, "ground": _ground(mi)}
    light = np.zeros((image_size, image_size, 3))
    for number, source in enumerate(_sources(mi, scene)):  # light adds up; one by one is less noisy than all at once
        world = mi.load_dict({"type": "scene", "source": source, **lit})

        def trace(depth: int, share: float = 1, world: Any = world, seed: int = key + number) -> np.ndarray:
            path = mi.load_dict({"type": "path", "max_depth": depth, "hide_emitters": True})
            paths = max(1, round(samples * share))
            camera = _camera(mi, scene, image_size, paths, {"type": "gaussian", "stddev": PIXEL})
            return np.array(mi.render(world, sensor=camera, integrator=path, seed=seed % 2**32))[:, :, :3]

        if source["type"] == "constant":
            light += trace(DEPTH)
        elif metal_share.any():
            light += (1 - metal_share) * trace(2, DIRECT_SHARE) + metal_share * trace(DEPTH)
        else:
            light += trace(2, DIRECT_SHARE)
    image = np.rint(255 * _from_linear(light)).astype(np.uint8).transpose(2, 0, 1)
    return image, owner_shares.argmax(0).astype(np.uint8)


def _from_linear(light: np.ndarray) -> np.ndarray:
    """Light as channels of an sRGB picture, 0 to 1."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _indices(world: Any, shapes: list[Any]) -> np.ndarray:
    """From Mitsuba's numbers of what is seen (0 nothing, i + 1 its shape i) to owners."""
    names = {f"object_{k}": k + 1 for k in range(len(shapes))}
    return np.array([0, *(names.get(shape.id(), 0) for shape in world.shapes())])


def _shares(seen: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Share of each pixel's rays that see each owner: (OWNER_RAYS H, OWNER_RAYS W) -> (S + 1, H, W)."""
    size = len(seen) // OWNER_RAYS
    rays = owner[seen].reshape(size, OWNER_RAYS, size, OWNER_RAYS)
    return np.stack([(rays == number).mean((1, 3)) for number in range(owner.max() + 1)])


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


def _sources(mi: Any, scene: Scene) -> list[dict[str, Any]]:
    """What shines: the surroundings, and three square lamps towards the origin."""
    sources: list[dict[str, Any]] = [{"type": "constant", "radiance": {"type": "rgb", "value": [AMBIENT] * 3}}]
    for position, side, power in zip(scene.lamps, LAMP_SIZES, LAMP_POWERS, strict=True):
        to_origin = mi.ScalarTransform4f().look_at(position.tolist(), [0, 0, 0], [0, 0, 1])
        radiance = power / (np.pi * side * side)
        sources.append(
            {
                "type": "rectangle",
                "to_world": to_origin @ mi.ScalarTransform4f().scale([side / 2, side / 2, 1]),
                "emitter": {"type": "area", "radiance": {"type": "rgb", "value": [radiance] * 3}},
            }
        )
    return sources


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
