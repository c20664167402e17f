"""How a photo of any shape becomes the square that a network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

CROP_SHARE = 0.875
"""Share of the shorter side that a central crop keeps, as ImageNet networks are evaluated (resize
to r / 0.875, crop the centre r)."""

Fit = Literal["squeeze", "center_crop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFit:
    """The treatment of photos, as the images were treated that a network was trained on."""

    is_cropped: bool = False
    """Whether the central square (`CROP_SHARE`) alone is kept; else the whole photo is squeezed."""
    stored_size: int | None = None
    """Height and width at which training images were stored, before they were resized to each
    network's resolution, pixels; None: they were resized at once."""

    def sizes(self, resolution: int) -> tuple[int, ...]:
        """Heights and widths to which a photo is resized, one after the other, pixels."""
        if self.stored_size in (None, resolution):
            return (resolution,)
        assert self.stored_size is not None
        return (self.stored_size, resolution)

    def to_json(self, resolution: int) -> dict[str, Any]:
        """As files state it: `fit`, `sizes` and, of a crop, `crop_share`."""
        fit: Fit = "center_crop" if self.is_cropped else "squeeze"
        crop = {"crop_share": CROP_SHARE} if self.is_cropped else {}
        return {"fit": fit, **crop, "sizes": list(self.sizes(resolution))}
