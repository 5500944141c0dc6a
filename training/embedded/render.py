"""One positive from one seed: the mix of images that the embedded critic is trained on."""

from __future__ import annotations

import numpy as np

from .camera import camera
from .photographs import Photographs
from .photolike import add_relief, render_photolike
from .scenes import Scene, SceneConfig, scene_renderer
from .textures import render_dead_leaves, render_texture


def render_positive(
    seed: int | tuple[int, ...],
    config: SceneConfig,
    *,
    textures: float = 0.10,
    dead_leaves: float = 0.05,
    photolike: float = 0.50,
    relief: float = 0.40,
    captured: float = 0.60,
    cameras: bool = True,
    photographs: Photographs | None = None,
    photographed: float = 0.75,
) -> tuple[np.ndarray, str, Scene | None]:
    """Image uint8 [S, S, 3], its true prompt, and the scene behind it (None where there is none).

    `textures`, `dead_leaves` and `photolike` are probabilities: the rest of the images are scenes.
    Of all but the photograph-like ones, which have a surface and a camera of their own, `relief`
    are given a surface that no other image has and `captured` pass the camera; without `cameras`
    nothing rendered passes any. Where there are `photographs`, a share of `photographed` of the
    photograph-like images are views of them. The same seed, config and photographs give the same
    bytes.
    """
    rng = np.random.default_rng(seed)
    draw = rng.random()
    scene = None
    if draw < textures:
        image, prompt = render_texture(rng, config.size_px)
    elif draw < textures + dead_leaves:
        image, prompt = render_dead_leaves(rng, config.size_px)
    elif draw < textures + dead_leaves + photolike:
        if photographs is not None and photographed and rng.random() < photographed:
            image, prompt = photographs.view(rng, config.size_px)
        else:
            image, prompt = render_photolike(rng, config.size_px, captured=cameras)
        return image, prompt, None
    else:
        scene = scene_renderer(config).render(rng)
        image, prompt = scene.image, scene.prompt
    if rng.random() < relief:
        image = add_relief(image, rng)
    if cameras and rng.random() < captured:
        image = camera(image, rng, rng.uniform(0.3, 1.0))
    if scene is not None:
        scene.image = image
    return np.ascontiguousarray(image), prompt, scene
