"""The ladder: each rung finds what it can, numpy computes what torch fitted, the seed fixes it."""

# pyright: reportUnknownMemberType=false
# (torch is only partly typed)

from dataclasses import replace
from typing import Literal, cast

import numpy as np
import pytest

from contracts.errors import BaselineError
from detectors.features import BUCKETS, ORDERS, SLOTS, Encoded
from detectors.hazard import (
    RUNGS,
    SHAPES,
    TENSORS,
    WIDTH,
    Hazard,
    Rung,
    expit,
    log_likelihood,
)
from detectors.model import Recurrent
from detectors.train import TrainSettings, device_of, fit, fit_rung, folds_of

Law = Literal["flat", "slot", "history"]


def quiet(what: str, share: float) -> None:
    assert 0.0 <= share <= 1.0
    assert what


def simulated(count: int, law: Law, seed: int = 0, calls: int = 6) -> list[Encoded]:
    """Trajectories whose hazard of UA01 is flat, depends on one slot, or on the tool two back."""
    rng = np.random.default_rng(seed)
    out: list[Encoded] = []
    for number in range(count):
        tool = rng.integers(0, 2, calls)
        features = np.full((calls, len(SLOTS)), 7, np.int64)
        features[:, 3] = 100 + rng.integers(0, 5, calls)
        features[:, 4] = 200 + tool
        tokens = np.zeros((calls, 4), np.int64)
        tokens[:, 0] = 300 + tool
        if law == "flat":
            hazard = np.full(calls, 0.2)
        elif law == "slot":
            hazard = np.where(tool == 1, 0.5, 0.02)
        else:
            back = np.concatenate([[0, 0], tool[:-2]])
            hazard = np.where(back == 1, 0.7, 0.03)
        zero = np.zeros(calls, np.bool_)
        out.append(
            Encoded(
                f"t{number}",
                "svc/agent",
                np.zeros(calls, np.int64),
                np.arange(calls),
                rng.random(calls) < hazard,
                zero,
                zero,
                ~zero,
                features,
                tokens,
                0.0,
            )
        )
    return out


def score(hazard: Hazard, encoded: list[Encoded]) -> float:
    return float(log_likelihood([hazard(each) for each in encoded], encoded).sum())


def test_the_loglinear_rung_finds_a_slot_and_wins() -> None:
    fitted = fit(simulated(300, "slot"), TrainSettings(), quiet)
    assert fitted.hazard.rung == "loglinear"
    fresh = simulated(50, "slot", seed=1)
    p = np.concatenate([fitted.hazard(each) for each in fresh])
    tool = np.concatenate([each.features[:, 4] for each in fresh]) - 200
    assert np.allclose([p[tool == 0].mean(), p[tool == 1].mean()], [0.02, 0.5], atol=0.05)


def test_with_nothing_to_learn_the_simplest_rung_is_frozen() -> None:
    fitted = fit(simulated(200, "flat"), TrainSettings(), quiet)
    assert fitted.hazard.rung == "rate"
    assert expit(fitted.hazard.tensors["bias"][:1])[0] == pytest.approx(0.2, abs=0.03)


def test_the_recurrent_rung_finds_history_that_slots_do_not_show() -> None:
    train, fresh = simulated(600, "history"), simulated(200, "history", seed=1)
    settings = TrainSettings(recurrent_epochs=40)
    linear = fit_rung("loglinear", train, settings, 1.0)
    recurrent = fit_rung("recurrent", train, settings, 1.0)
    assert score(recurrent, fresh) > score(linear, fresh) + 100


def test_history_that_slots_do_not_show_freezes_the_recurrent_rung() -> None:
    settings = TrainSettings(recurrent_epochs=40, penalties=(1.0,))
    fitted = fit(simulated(600, "history"), settings, quiet)
    assert fitted.hazard.rung == "recurrent"
    assert fitted.likelihood["recurrent"] > fitted.likelihood["loglinear"] + 0.05


def test_too_few_to_tell_when_to_stop_leave_the_recurrent_rung_out() -> None:
    settings = TrainSettings(recurrent_from=50, penalties=(1.0,))
    assert "recurrent" not in fit(simulated(49, "slot"), settings, quiet).per_rung
    assert "recurrent" in fit(simulated(50, "slot"), settings, quiet).per_rung


def test_first_acts_and_orders_are_not_explained_by_history() -> None:
    encoded = simulated(600, "history")
    settings = TrainSettings(recurrent_epochs=2)
    free = fit_rung("recurrent", encoded, settings, 1.0)
    linear = Hazard("loglinear", {name: free.tensors[name] for name in ("bias", "weights")})
    acts = encoded[0]
    first = replace(acts, first=np.ones(len(acts), np.bool_))
    orders = replace(acts, stream=np.full(len(acts), ORDERS))
    assert not np.array_equal(free(acts)[1:], linear(acts)[1:])
    assert np.array_equal(free(first), linear(first))
    assert np.array_equal(free(orders), linear(orders))
    with_first = fit_rung("recurrent", [replace(e, first=e.taken) for e in encoded], settings, 1.0)
    assert with_first.tensors["readout"].any()


def test_a_recurrent_residual_is_not_worse_where_there_is_nothing() -> None:
    train, fresh = simulated(300, "flat"), simulated(300, "flat", seed=1)
    linear = fit_rung("loglinear", train, TrainSettings(), 4.0)
    recurrent = fit_rung("recurrent", train, TrainSettings(), 4.0)
    assert score(recurrent, fresh) > score(linear, fresh) - 5


def test_the_same_seed_and_data_give_the_same_bits_in_any_order() -> None:
    encoded = simulated(80, "slot")
    one = fit(encoded, TrainSettings(), quiet)
    two = fit(encoded[::-1], TrainSettings(), quiet)
    for name, tensor in one.hazard.tensors.items():
        assert np.array_equal(tensor, two.hazard.tensors[name])
    assert all(
        np.array_equal(a, b) for a, b in zip(one.crossfitted, two.crossfitted[::-1], strict=True)
    )


def test_a_crossfitted_hazard_never_saw_its_own_trajectory() -> None:
    encoded = simulated(40, "flat")
    settings = TrainSettings(rungs=("rate",))
    fitted = fit(encoded, settings, quiet)
    fold = folds_of(encoded, settings.folds)
    for i, each in enumerate(encoded):
        others = [e for e, f in zip(encoded, fold, strict=True) if f != fold[i]]
        taken, count = (sum(int(v) for v in values) for values in (
            (e.taken.sum() for e in others), (len(e) for e in others)
        ))  # fmt: skip
        assert fitted.crossfitted[i] == pytest.approx(
            np.full(len(each), (taken + 0.5) / (count + 1))
        )


def test_what_a_held_out_trajectory_did_changes_nothing_in_its_own_hazards() -> None:
    """Neither the weights nor the penalty nor the stopping of a fold have seen it."""
    encoded = simulated(240, "slot")
    settings = TrainSettings(recurrent_epochs=6)
    held = folds_of(encoded, settings.folds) == 1
    other = [
        replace(each, taken=~each.taken) if mine else each
        for each, mine in zip(encoded, held, strict=True)
    ]
    one, two = fit(encoded, settings, quiet), fit(other, settings, quiet)
    for rung in RUNGS:
        pairs = list(zip(one.per_rung[rung], two.per_rung[rung], held, strict=True))
        assert all(np.array_equal(a, b) for a, b, mine in pairs if mine)
        assert not all(np.array_equal(a, b) for a, b, mine in pairs if not mine)


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert device_of(TrainSettings()).type == kind
    assert device_of(TrainSettings(device="cpu")).type == "cpu"


def test_a_gpu_fits_what_a_cpu_fits() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    train, fresh = simulated(600, "history"), simulated(200, "history", seed=1)
    scores = [
        score(fit_rung("recurrent", train, TrainSettings(device=device), 1.0), fresh)
        for device in ("cuda", "cpu")
    ]
    assert scores[0] == pytest.approx(scores[1], rel=0.05)


def test_a_fit_leaves_the_number_of_threads_as_it_was() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        fit_rung("loglinear", simulated(20, "slot"), TrainSettings(), 1.0)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_folds_are_even_and_do_not_depend_on_the_order() -> None:
    encoded = simulated(42, "flat")
    fold = folds_of(encoded, 4)
    assert np.bincount(fold).tolist() == [11, 11, 10, 10]
    assert np.array_equal(folds_of(encoded[::-1], 4), fold[::-1])


def test_numpy_computes_the_same_as_torch() -> None:
    import torch

    torch.manual_seed(3)
    module = Recurrent()
    with torch.no_grad():
        module.readout.normal_()
    state = {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}
    rng = np.random.default_rng(0)
    hazard = Hazard(
        "recurrent",
        {
            "bias": np.zeros(17),
            "weights": np.zeros((17, BUCKETS)),
            "embedding": state["embedding.weight"],
            "input_weights": state["gru.weight_ih_l0"],
            "state_weights": state["gru.weight_hh_l0"],
            "input_bias": state["gru.bias_ih_l0"],
            "state_bias": state["gru.bias_hh_l0"],
            "readout": state["readout"],
        },
    )
    encoded = simulated(1, "slot")[0]
    tokens = rng.integers(0, BUCKETS, encoded.tokens.shape)
    encoded = Encoded(
        "t", "r", np.array([0, 1, 2, 3, 4, ORDERS]), encoded.step, encoded.taken,
        encoded.after_error,
        np.arange(6) == 3, encoded.visible, encoded.features, tokens, 0.0,
    )  # fmt: skip
    step = torch.arange(6)
    want = module(torch.from_numpy(tokens)[None], step * 0, step, torch.from_numpy(encoded.stream))
    got = hazard.logits([encoded])
    free = [0, 1, 2, 4]
    assert got[free] == pytest.approx(want.detach().numpy()[free], abs=1e-5)
    assert got[0] == 0.0
    assert got[3] == got[5] == 0.0
    assert got[4] != 0.0
    assert module.gru.hidden_size == WIDTH


@pytest.mark.parametrize("rung", RUNGS)
def test_a_hazard_refuses_parameters_that_are_not_its_own(rung: Rung) -> None:
    with pytest.raises(BaselineError, match=rung):
        Hazard(rung, {})
    with pytest.raises(BaselineError, match="shape"):
        Hazard("rate", {"bias": np.zeros(3)})
    with pytest.raises(BaselineError, match="finite"):
        Hazard("rate", {"bias": np.full(17, np.nan)})


def test_extreme_logits_stay_probabilities() -> None:
    p = expit(np.array([-1e9, -40.0, 0.0, 40.0, 1e9]))
    assert cast("list[float]", p.tolist())[2] == 0.5
    assert bool(((p >= 0) & (p <= 1)).all())


@pytest.mark.parametrize("rung", RUNGS)
def test_hazards_computed_together_are_those_computed_alone(rung: Rung) -> None:
    rng = np.random.default_rng(3)
    hazard = Hazard(rung, {name: rng.normal(0, 0.3, SHAPES[name]) for name in TENSORS[rung]})
    some = [simulated(1, "flat", seed, calls)[0] for seed, calls in enumerate((3, 1, 9, 3, 40))]
    for alone, each in zip(hazard.many(some), some, strict=True):
        assert alone == pytest.approx(hazard(each), abs=1e-12)
    assert hazard.many([]) == []


@pytest.mark.parametrize("rung", RUNGS)
def test_what_comes_later_changes_no_hazard(rung: Rung) -> None:
    """Judging after every call gives what judging once at the end gives."""
    rng = np.random.default_rng(4)
    hazard = Hazard(rung, {name: rng.normal(0, 0.3, SHAPES[name]) for name in TENSORS[rung]})
    whole = simulated(1, "slot", seed=2, calls=30)[0]
    at_once = hazard(whole)
    for calls in range(1, 31):
        part = replace(
            whole,
            **{
                name: getattr(whole, name)[:calls]
                for name in (
                    "stream", "step", "taken", "after_error", "first", "visible", "features",
                    "tokens",
                )
            },
        )  # fmt: skip
        assert hazard(part)[-1] == pytest.approx(at_once[calls - 1], abs=1e-12)
