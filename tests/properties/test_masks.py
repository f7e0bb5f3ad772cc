"""What follows a series in its batch never reaches a result, whatever the network is made of and whatever stands there."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.deploy.facts import Arguments
from pipeline.model import masked
from tests.properties.inputs import architectures, batch, model_of, tried

PADDING = st.sampled_from([0.0, 1.0, -3e38, 1e30, torch.inf, -torch.inf, torch.nan])


def with_padding(values: Tensor, lengths: Tensor, filler: float) -> Tensor:
    """``values`` (B, T, F) with ``filler`` after the end of each series."""
    return values.masked_fill(torch.arange(values.shape[1])[None, :, None] >= lengths[:, None, None], filler)


@given(data=st.data(), arguments=architectures(), filler=PADDING, training=st.booleans())
@tried(80)
def test_padding_changes_no_bit_of_logits_and_gradients(
    data: st.DataObject, arguments: Arguments, filler: float, training: bool
) -> None:
    values, lengths = data.draw(batch(arguments.features))
    found = []
    for content in (0.0, filler):
        model = model_of(arguments).train(training)
        torch.manual_seed(1)  # of dropout
        logits = model(with_padding(values, lengths, content), lengths)
        logits.square().sum().backward()
        found.append([logits.detach(), *(parameter.grad for parameter in model.parameters())])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other) and one.isfinite().all()


@given(data=st.data(), arguments=architectures(), filler=PADDING, more=st.integers(0, 4))
@tried(80)
def test_a_series_is_answered_as_it_is_alone(data: st.DataObject, arguments: Arguments, filler: float, more: int) -> None:
    values, lengths = data.draw(batch(arguments.features))
    model = model_of(arguments)
    longer = torch.cat([values, torch.zeros(len(values), more, arguments.features)], 1)
    with torch.no_grad():
        together = model(with_padding(longer, lengths, filler), lengths)
        alone = torch.cat([model(values[row : row + 1, :length]) for row, length in enumerate(lengths.tolist())])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@given(data=st.data(), width=st.integers(1, 3).map(lambda half: 2 * half), filler=PADDING)
def test_reductions_are_those_of_each_series_by_itself(data: st.DataObject, width: int, filler: float) -> None:
    values, lengths = data.draw(batch(width))
    padded = with_padding(values, lengths, filler)
    valid = masked.mask(lengths, values.shape[1])
    alone = [one[:length] for one, length in zip(values, lengths.tolist(), strict=True)]
    assert valid[:, :, 0].sum(1).equal(lengths)

    def same(found: Tensor, wanted: list[Tensor], **tolerance: Any) -> None:
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, **({"rtol": 0, "atol": 0} | tolerance))

    same(masked.mean(padded, valid), [one.mean(0) for one in alone], rtol=1e-5, atol=1e-5)
    same(masked.largest(padded, valid), [one.amax(0) for one in alone])
    half = width // 2
    same(masked.last(padded, lengths, 1), [one[-1] for one in alone])
    same(masked.last(padded, lengths, 2), [torch.cat([one[-1, :half], one[0, half:]]) for one in alone])
    turned = masked.reverse(padded, lengths)
    same(masked.reverse(turned, lengths).nan_to_num(), list(padded.nan_to_num()))
    for one, other, length in zip(turned, alone, lengths.tolist(), strict=True):
        assert one[:length].equal(other.flip(0))
    whole = torch.full_like(lengths, values.shape[1])
    assert masked.reverse(values, None).equal(masked.reverse(values, whole))
    assert masked.last(values, None, 2).equal(masked.last(values, whole, 2))
