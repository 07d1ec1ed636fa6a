import pytest

from rethink_ray.spec.recipe import DecaySpec, ScheduleSpec
from rethink_ray.training.schedule import lr_at, schedule_of

HE = ScheduleSpec(
    unit=100, warmup=10, lengths=(2.0, 6.0), decay=DecaySpec(before_end=(0.6, 0.2), factor=0.1)
)


def test_warm_up_climbs_linearly_to_the_peak() -> None:
    schedule = schedule_of(HE, 2.0)
    assert lr_at(schedule, 1.0, 0) == pytest.approx(0.1)
    assert lr_at(schedule, 1.0, 4) == pytest.approx(0.5)
    assert lr_at(schedule, 1.0, 9) == pytest.approx(1.0)
    assert lr_at(schedule, 1.0, 10) == 1.0


def test_step_decay_is_counted_from_the_end_of_each_length() -> None:
    for length, end in ((2.0, 200), (6.0, 600)):
        schedule = schedule_of(HE, length)
        assert schedule.branch_at == end - 60
        assert lr_at(schedule, 1.0, end - 61) == 1.0
        assert lr_at(schedule, 1.0, end - 60) == pytest.approx(0.1)
        assert lr_at(schedule, 1.0, end - 21) == pytest.approx(0.1)
        assert lr_at(schedule, 1.0, end - 20) == pytest.approx(0.01)
        assert lr_at(schedule, 1.0, end - 1) == pytest.approx(0.01)


def test_up_to_its_branch_every_length_has_the_rates_of_every_longer_one() -> None:
    short, long = schedule_of(HE, 2.0), schedule_of(HE, 6.0)
    trunk = range(short.branch_at)
    assert [lr_at(short, 0.3, s) for s in trunk] == [lr_at(long, 0.3, s) for s in trunk]


def test_a_constant_schedule_never_decays_and_branches_at_its_end() -> None:
    spec = HE.model_copy(update={"decay": DecaySpec(kind="constant")})
    schedule = schedule_of(spec, 2.0)
    assert schedule.branch_at == schedule.total_steps == 200
    assert lr_at(schedule, 0.5, 199) == 0.5


def test_cosine_falls_from_the_peak_to_zero_over_the_whole_length() -> None:
    spec = HE.model_copy(update={"decay": DecaySpec(kind="cosine")})
    schedule = schedule_of(spec, 2.1)
    assert schedule.branch_at == 0
    assert lr_at(schedule, 1.0, 10) == 1.0
    assert lr_at(schedule, 1.0, 110) == pytest.approx(0.5)
    assert lr_at(schedule, 1.0, 209) == pytest.approx(0.0, abs=1e-4)


def test_decay_points_may_differ_per_length() -> None:
    decay = DecaySpec(before_end={"2": (0.5,), "6": (1.0, 0.5)})
    spec = HE.model_copy(update={"decay": decay})
    assert schedule_of(spec, 2.0).branch_at == 150
    assert schedule_of(spec, 6.0).branch_at == 500


def test_one_minus_sqrt_falls_from_the_peak_where_the_branch_begins() -> None:
    spec = HE.model_copy(update={"decay": DecaySpec(kind="one_minus_sqrt", before_end=(0.64,))})
    schedule = schedule_of(spec, 2.0)
    assert schedule.branch_at == 200 - 64
    rates = {step: lr_at(schedule, 1.0, step) for step in (135, 136, 152, 172, 199)}
    assert rates[135] == rates[136] == 1.0
    assert rates[152] == pytest.approx(1 - 4 / 8)  # 16 of 64 updates of the decay are done
    assert rates[172] == pytest.approx(1 - 6 / 8)
    assert rates[199] == pytest.approx(1 - (63 / 64) ** 0.5)


def test_one_minus_sqrt_begins_at_the_earliest_point_and_passes_over_the_others() -> None:
    step = HE.model_copy(update={"decay": DecaySpec(before_end=(0.2, 0.6))})
    other = HE.model_copy(update={"decay": DecaySpec(kind="one_minus_sqrt", before_end=(0.2, 0.6))})
    for length in (2.0, 6.0):
        assert schedule_of(other, length).branch_at == schedule_of(step, length).branch_at
        assert schedule_of(other, length).before_end == (60,)
