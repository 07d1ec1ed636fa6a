import torch

from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.sync import SyncBatchNorm, put_on_gpus
from rethink_ray.spec.recipe import DetectorSpec, InitSpec


def test_alone_it_is_batch_normalisation_to_the_bit() -> None:
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    layers = [torch.nn.BatchNorm2d(3), SyncBatchNorm(3)]
    for training in (True, False):
        plain, synced = (layer.train(training)(x) for layer in layers)
        assert torch.equal(plain, synced)
    assert torch.equal(layers[0].running_var, layers[1].running_var)


def test_pytorchs_own_layer_takes_over_parameters_statistics_and_names() -> None:
    spec = DetectorSpec(backbone="tiny", norm="sync_bn", width=16, neck_channels=16, head_convs=1)
    detector = build_detector(spec, InitSpec(), 3, seed=0)
    before = dict(detector.named_parameters())
    names = list(detector.state_dict())
    num_ours = sum(type(m) is SyncBatchNorm for m in detector.modules())
    put_on_gpus(detector)
    assert num_ours > 0
    assert sum(type(m) is torch.nn.SyncBatchNorm for m in detector.modules()) == num_ours
    assert not any(type(m) is SyncBatchNorm for m in detector.modules())
    assert list(detector.state_dict()) == names
    assert all(p is before[name] for name, p in detector.named_parameters())
