"""Small spaces that tests share; `DEBUG` is the size to reach for first."""

from __future__ import annotations

from models.spaces.mobile import MobileSpace, StageSpec
from models.spaces.resnet import ResNetSpace, ResNetStage

DEBUG = MobileSpace(
    name="debug",
    channels=1,
    classes=10,
    resolutions=(8, 12),
    kernels=(3, 5),
    expands=(3, 4),
    stem_width=8,
    stem_stride=1,
    first_width=8,
    first_act="relu",
    stages=(
        StageSpec(width=8, stride=2, act="relu", se=False, depths=(1, 2)),
        StageSpec(width=16, stride=2, act="hswish", se=True, depths=(1, 2)),
    ),
    head_width=32,
    feature_width=48,
    act="hswish",
)
"""2 resolutions, 2 stages, every kind of block: 800 architectures, brute force is cheap."""

FASHION_LIKE = MobileSpace(
    name="fashion-like",
    channels=1,
    classes=10,
    resolutions=(16, 20, 24, 28),
    kernels=(3, 5, 7),
    expands=(3, 4, 6),
    stem_width=8,
    stem_stride=1,
    first_width=8,
    first_act="relu",
    stages=(
        StageSpec(width=16, stride=2, act="relu", se=False, depths=(2, 3, 4)),
        StageSpec(width=24, stride=1, act="relu", se=True, depths=(2, 3, 4)),
        StageSpec(width=32, stride=2, act="relu", se=False, depths=(2, 3, 4)),
        StageSpec(width=40, stride=1, act="hswish", se=True, depths=(2, 3, 4)),
        StageSpec(width=64, stride=2, act="hswish", se=True, depths=(2, 3, 4)),
    ),
    head_width=384,
    feature_width=512,
    act="hswish",
)
"""The shape of a real space on small images: 8.5e19 architectures."""

RESNET = ResNetSpace(
    name="debug-resnet",
    channels=3,
    classes=10,
    resolutions=(33, 40),
    widths=(0.5, 1.0),
    expands=(0.25, 0.5),
    extra_depths=(0, 1),
    stem_widths=(16, 24),
    stages=(
        ResNetStage(width=32, stride=1, least_blocks=1),
        ResNetStage(width=48, stride=2, least_blocks=1),
    ),
)
"""Every kind of ResNet layer, odd sizes among them; 2,304 architectures."""
