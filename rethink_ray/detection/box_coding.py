"""A box coder like torchvision's that does not create constants on a GPU.

Creating such a constant makes the host wait for the GPU.
"""

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, encode_boxes


class DeviceBoxCoder(BoxCoder):  # type: ignore[misc]  # torchvision is untyped
    """Codes boxes as deltas from reference boxes; numbers equal torchvision's."""

    def encode_single(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """Returns deltas ``[R, 4]`` from ``proposals`` to ``reference_boxes``, both ``[R, 4]``."""
        deltas: Tensor = encode_boxes(reference_boxes, proposals, self.weights)
        return deltas

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Returns boxes ``[R, 4 * C]`` xyxy: ``boxes [R, 4]`` moved by ``rel_codes [R, 4 * C]``."""
        boxes = boxes.to(rel_codes.dtype)
        sides = boxes[:, 2:] - boxes[:, :2]
        centers = boxes[:, :2] + 0.5 * sides
        dx, dy, dw, dh = (rel_codes[:, i::4] / weight for i, weight in enumerate(self.weights))
        width, height = (side[:, None] for side in sides.unbind(1))
        x, y = (center[:, None] for center in centers.unbind(1))
        x, y = dx * width + x, dy * height + y
        half_width = 0.5 * (torch.exp(dw.clamp(max=self.bbox_xform_clip)) * width)
        half_height = 0.5 * (torch.exp(dh.clamp(max=self.bbox_xform_clip)) * height)
        corners = (x - half_width, y - half_height, x + half_width, y + half_height)
        return torch.stack(corners, dim=2).flatten(1)
