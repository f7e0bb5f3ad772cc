"""The page computes what the model computes, whatever it is made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page

from pipeline.model.classifier import RecurrentClassifier
from pipeline.report.page import shown, weights, writing

F, C, T = 3, 4, 11
CASES: list[dict[str, Any]] = [
    *({"cell": cell} for cell in ("lstm", "gru", "rnn")),
    *({"cell": "gru", "pooling": pooling} for pooling in ("mean", "max", "attention")),
    *(
        {"cell": cell, "layers": 2, "bidirectional": True, "pooling": pooling, "layer_norm": True, "projection": 5}
        for cell, pooling in (("lstm", "last"), ("gru", "attention"), ("rnn", "max"), ("lstm", "mean"))
    ),
    {"conv": 6},
    {"conv": 6, "conv_norm": "batch", "bidirectional": True, "pooling": "attention"},
]


@pytest.fixture(scope="module")
def page(browser: Browser) -> Page:
    """A page with the scripts of the model and nothing else."""
    page = browser.new_page()
    page.set_content('<script type="application/json" id="report-data">{}</script>')
    page.add_script_tag(content="\n".join((writing.ASSETS / name).read_text() for name in ("base.js", "network.js")))
    return page


def random_model(**arguments: Any) -> RecurrentClassifier:
    """A model whose every number is a random one, also those that begin as 0 or 1."""
    torch.manual_seed(0)
    model = RecurrentClassifier(F, C, hidden=7, **arguments).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.add_(torch.rand_like(tensor) * (0.5 if "var" in name or name == "scale" else 0.3))
    return model


@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_logits_of_the_page_are_those_of_the_model_after_every_step(page: Page, arguments: dict[str, Any]) -> None:
    model, values = random_model(**arguments), torch.randn(1, T, F)
    spec = shown.plain(weights.embedded(model))
    program = (
        "([spec, values, T]) => { const n = new Network(spec); return [Array.from(n.logits(values, T)), n.stops(values, T)]; }"
    )
    logits, stops = page.evaluate(program, [spec, values.flatten().tolist(), T])
    with torch.no_grad():
        assert torch.tensor(logits) == pytest.approx(model(values)[0], abs=1e-5)
        assert [stop["step"] for stop in stops] == list(range(1, T + 1))
        for stop in stops:
            expected = model(values[:, : stop["step"]])[0].softmax(0)
            assert torch.tensor(stop["p"]) == pytest.approx(expected, abs=1e-5)


def test_the_cost_of_long_series_is_bounded(page: Page) -> None:
    spec = shown.plain(weights.embedded(random_model(bidirectional=True)))
    program = "([spec, T]) => new Network(spec).stops(new Float32Array(3 * T), T).map((stop) => stop.step)"
    steps = page.evaluate(program, [spec, 3000])
    assert len(steps) < 400 and steps[0] == 1 and steps[-1] == 3000 and steps == sorted(set(steps))


def test_a_model_that_is_too_large_is_refused_in_words() -> None:
    assert weights.refused(random_model()) == ""
    large = RecurrentClassifier(F, C, hidden=512)
    assert weights.refused(large) == "its weights are 4.2 MB; a page holds up to 480 KB"
