"""RT-DETRv2 of transformers as a family: its own losses, a square input, no suppression afterwards.

Images become squares of ``detector.min_side_px``, without mean and deviation. The losses, their
weights and the matching are transformers'. Random weights are those of a new configuration; a file
holds a checkpoint of the hub (``model.safetensors``). Source: huggingface/transformers,
src/transformers/models/rt_detr_v2 and src/transformers/loss/loss_rt_detr.py; the sizes are those of
convert_rt_detr_v2_weights_to_hf.py; Lv et al. 2024.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, clip_boxes_to_image
from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection
from transformers.utils import logging

from rethink_ray.detection.resize import resize_image
from rethink_ray.spec.recipe import DetectorSpec

SMALL_BACKBONE = {"hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"}
SIZES: Mapping[str, Mapping[str, Any]] = {
    "r18vd": {
        "freeze_backbone_batch_norms": False,
        "encoder_in_channels": [128, 256, 512],
        "hidden_expansion": 0.5,
        "decoder_layers": 3,
    },
    "r50vd": {},
}
"""Size -> what differs from transformers' defaults, beside the backbone. The norms of ResNet-D-18
learn, as in lyuwenyu/RT-DETR, rtdetrv2_pytorch/configs/rtdetrv2/rtdetrv2_r18vd_120e_coco.yml."""
BACKBONE_SIZES: Mapping[str, Mapping[str, Any]] = {
    "r18vd": {**SMALL_BACKBONE, "depths": [2, 2, 2, 2]},
    "r50vd": {},
}
"""Size -> what differs from transformers' ResNet-D-50."""


class RtDetr(nn.Module):
    """RT-DETRv2 with the methods that this program calls.

    A batch is never shared: the number of denoising queries follows from its fullest image, and
    batch norms of the encoder see all its images.
    """

    shares_batches = False
    class_tensors = (
        "network.class_embed.*",
        "network.model.decoder.class_embed.*",
        "network.model.enc_score_head.*",
        "network.model.denoising_class_embed.*",
    )

    def __init__(self, config: RTDetrV2Config, spec: DetectorSpec) -> None:
        super().__init__()
        self.network = RTDetrV2ForObjectDetection(config)
        self.side_px = spec.min_side_px
        self.score_threshold = spec.score_threshold
        self.num_detections = spec.detections

    @property
    def backbone(self) -> nn.Module:
        """The ResNet-D."""
        backbone: nn.Module = self.network.get_submodule("model.backbone")
        return backbone

    def losses(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]],
        *,
        seed: int,
        step: int,
    ) -> dict[str, Tensor]:
        """Returns the weighted losses of the last and of every other decoder layer."""
        labels = [
            {
                "class_labels": target["labels"] - 1,
                "boxes": _scale_to_one(target["boxes"], image),
            }
            for image, target in zip(images, targets, strict=True)
        ]
        losses: dict[str, Tensor] = self.network(self._stack(images), labels=labels).loss_dict
        return losses

    def detect(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Returns the best pairs of query and class of each image, in its own pixels."""
        outputs = self.network(self._stack(images))
        return [
            self._select(logits, boxes, image)
            for logits, boxes, image in zip(outputs.logits, outputs.pred_boxes, images, strict=True)
        ]

    def _select(self, logits: Tensor, boxes: Tensor, image: Tensor) -> dict[str, Tensor]:
        num_classes = logits.shape[-1]
        every = logits.float().sigmoid().flatten()
        scores, indices = every.topk(min(self.num_detections, len(every)))
        kept = scores > self.score_threshold
        scores, indices = scores[kept], indices[kept]
        height, width = image.shape[-2:]
        corners = box_convert(boxes.float()[indices // num_classes], "cxcywh", "xyxy")
        pixels = corners * corners.new_tensor([width, height, width, height])
        return {
            "boxes_xyxy": clip_boxes_to_image(pixels, (height, width)),
            "scores": scores,
            "labels": indices % num_classes + 1,
        }

    def _stack(self, images: Sequence[Tensor]) -> Tensor:
        return torch.stack([resize_image(image, self.side_px, self.side_px) for image in images])

    def rename_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gives a checkpoint of the hub the names of this module.

        Its names are older than those of the network, and of heads that are tied it has one.
        transformers knows both, so a second network is loaded; a tensor that it lacks or does not
        know is lacking or left over here too.
        """
        with torch.random.fork_rng(devices=[]), _without_progress_bars():
            loaded, report = RTDetrV2ForObjectDetection.from_pretrained(
                None,
                config=self.network.config,
                state_dict=dict(state),
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        drawn = {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}
        renamed = {name: v for name, v in loaded.state_dict().items() if name not in drawn}
        renamed |= {name: state[name] for name in report["unexpected_keys"] if name in state}
        return {f"network.{name}": value for name, value in renamed.items()}

    def read_settings(self) -> dict[str, Any]:
        """Returns the live values of the settings that a study can change."""
        return {"score_threshold": self.score_threshold, "detections": self.num_detections}


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def build_rtdetr_v2_r18vd(spec: DetectorSpec, num_classes: int) -> RtDetr:
    """Builds RT-DETRv2-S, on ResNet-D-18."""
    return RtDetr(derive_config("r18vd", num_classes), spec)


def build_rtdetr_v2_r50vd(spec: DetectorSpec, num_classes: int) -> RtDetr:
    """Builds RT-DETRv2-L, on ResNet-D-50."""
    return RtDetr(derive_config("r50vd", num_classes), spec)


def derive_config(size: str, num_classes: int) -> RTDetrV2Config:
    """Returns the configuration of a published size for this number of classes."""
    backbone = RTDetrResNetConfig(
        out_features=["stage2", "stage3", "stage4"], **BACKBONE_SIZES[size]
    )
    return RTDetrV2Config(backbone_config=backbone, num_labels=num_classes, **SIZES[size])


def _scale_to_one(boxes_xyxy: Tensor, image: Tensor) -> Tensor:
    """Returns centres and sizes as shares of the image's width and height."""
    height, width = image.shape[-2:]
    shares = boxes_xyxy / boxes_xyxy.new_tensor([width, height, width, height])
    centered: Tensor = box_convert(shares, "xyxy", "cxcywh")
    return centered
