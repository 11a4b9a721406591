# SPDX-License-Identifier: BSD-3-Clause
"""What TensorBoard is shown of a training."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.tracking import TENSORBOARD, tracked


def note(folder: Path, passes: range, *, steps: int) -> None:
    """Note some passes of a training of so many steps each."""
    with tracked(folder, "training", passes=9, shown=True) as watch:
        for number in passes:
            for position in range(steps):
                step = number * steps + position + 1
                watch.step({"steps": step, "passes": number, "learning_rate": 1e-3 * step, "fused": 1 / step})
            watch.passed(
                {
                    "pass": number + 1,
                    "steps": (number + 1) * steps,
                    "alerts": 100,
                    "fused": 0.5,
                    "balanced_accuracy": 0.7,
                    "scale": 14.0,
                    "seconds": 2.0,
                }
            )


def test_losses_rates_measures_and_throughput_are_scalars(tmp_path: Path) -> None:
    note(tmp_path, range(2), steps=3)
    events = EventAccumulator(str(tmp_path / TENSORBOARD / "training"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "loss/fused",
        "learning_rate",
        "pass/fused",
        "pass/balanced_accuracy",
        "alerts_per_second",
        "scale",
    }
    assert [each.step for each in events.Scalars("loss/fused")] == [1, 2, 3, 4, 5, 6]
    assert [(each.step, each.value) for each in events.Scalars("alerts_per_second")] == [(3, 50.0), (6, 50.0)]


def test_what_a_killed_run_wrote_after_its_checkpoint_is_forgotten(tmp_path: Path) -> None:
    note(tmp_path, range(3), steps=3)
    note(tmp_path, range(2, 4), steps=3)
    events = EventAccumulator(str(tmp_path / TENSORBOARD / "training"))
    events.Reload()
    assert [each.step for each in events.Scalars("loss/fused")] == list(range(1, 13))


def test_another_process_than_the_first_writes_nothing(tmp_path: Path) -> None:
    with tracked(tmp_path, "training", passes=1, shown=False) as watch:
        watch.step({"steps": 1})
        watch.passed({"pass": 1})
    assert list(tmp_path.iterdir()) == []
