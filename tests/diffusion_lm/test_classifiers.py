"""Guidance classifiers: probabilities per field, the original's left-to-right form, and noisy batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from diffusion_lm.classifiers import (
    NONE,
    ClassifierSettings,
    FieldClassifier,
    WordsClassifier,
    noisy_batch,
    times,
)
from diffusion_lm.denoiser import DiffusionLM
from pipeline.corpora.vocabulary import PAD

Tensors = Mapping[str, Tensor]
Make = Callable[..., DiffusionLM]
SETTINGS = ClassifierSettings(
    form="fields", hidden=16, layers=1, heads=2, intermediate=64, positions=16, time_channels=8,
    dropout=0.0, seed=0,
)  # fmt: skip
VALUES = {"food": ["Thai", "Chinese"], "area": ["riverside"], "price": ["cheap", "high", "moderate"]}
CONTROLS = [("food", "Thai"), ("price", "high"), ("area", NONE)]


@pytest.fixture
def fields(make_model: Make) -> FieldClassifier:
    return FieldClassifier(SETTINGS, make_model(), VALUES).eval()


@pytest.fixture
def words(tensors: Tensors) -> WordsClassifier:
    return WordsClassifier(SETTINGS, tensors["clamp/embedding"]).eval()


@pytest.fixture
def noisy() -> tuple[Tensor, Tensor, Tensor]:
    """Noisy vectors, times and mask of three texts of 6, 4 and 2 places."""
    x = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor([5.0, 500.0, 900.0]), torch.arange(6) < torch.tensor([6, 4, 2])[:, None]


def test_the_probabilities_of_each_field_sum_to_one(
    fields: FieldClassifier, noisy: tuple[Tensor, Tensor, Tensor]
) -> None:
    logs = fields.log_probabilities(*noisy)
    assert logs.shape == (3, 2 + 3 + 4)
    for part in logs.exp().split([2, 3, 4], 1):
        torch.testing.assert_close(part.sum(1), torch.ones(3))


def test_a_control_is_one_probability(fields: FieldClassifier, noisy: tuple[Tensor, Tensor, Tensor]) -> None:
    """The loss of each text is -log p of its own control."""
    logs, losses = fields.log_probabilities(*noisy), fields.control_loss(*noisy, CONTROLS)
    # By alphabet: none, riverside | none, Chinese, Thai | none, cheap, high, moderate.
    torch.testing.assert_close(losses, -logs[torch.arange(3), torch.tensor([4, 7, 0])])


def test_labels_name_every_field(fields: FieldClassifier) -> None:
    """A text that leaves a field out states its "none"."""
    assert fields.labels({"price": "moderate", "food": "Chinese"}) == [0, 3, 8]
    assert fields.labels({}) == [0, 2, 5]


def test_columns_do_not_follow_the_order_of_the_values(make_model: Make) -> None:
    """A header read back with its keys in another order means the same columns."""
    turned = {field: VALUES[field][::-1] for field in reversed(VALUES)}
    other, model = FieldClassifier(SETTINGS, make_model(), turned), make_model()
    assert other.columns == FieldClassifier(SETTINGS, model, VALUES).columns


def test_the_body_starts_from_the_denoiser(make_model: Make) -> None:
    """All weights but the last layer's are the denoiser's; the self-conditioning input stays empty."""
    model = make_model(self_conditioning=True)
    body, denoiser = FieldClassifier(SETTINGS, model, VALUES).body.state_dict(), model.denoiser.state_dict()
    assert all(torch.equal(body[name], denoiser[name]) for name in body if not name.startswith("down.2"))


def test_one_place_is_enough_to_state_a_value(
    fields: FieldClassifier, noisy: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Pooling is by the strongest place: a text with one sure place is sure, wherever the place is."""
    x, time, mask = noisy
    for place in range(6):
        scores = torch.zeros(3, 6, 9)
        scores[:, place, 4] = 20.0  # Thai
        fields.body = Fixed(scores)  # type: ignore[assignment]
        sure = -fields.control_loss(x, time, mask, [("food", "Thai")] * 3)
        assert ((sure > -1e-3) == mask[:, place]).all()  # but not where the text has no such place


class Fixed(nn.Module):
    """A stand-in network that always answers the same."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *_: object) -> Tensor:
        return self.answer


def test_fields_of_a_batch_equal_its_texts_alone(
    fields: FieldClassifier, noisy: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, time, mask = noisy
    together = fields.control_loss(x, time, mask, CONTROLS)
    for row, length in enumerate((6, 4, 2)):
        part = (x[row : row + 1, :length], time[row : row + 1], mask[row : row + 1, :length])
        alone = fields.control_loss(*part, CONTROLS[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)


def test_places_beyond_a_text_steer_nothing(
    fields: FieldClassifier, words: WordsClassifier, noisy: tuple[Tensor, Tensor, Tensor]
) -> None:
    """They get no gradient, every place of the text does, and their content changes no loss."""
    x, time, mask = noisy
    ids, prompt = torch.tensor([[4, 5, 6]] * 3), torch.tensor([1, 1, 1])

    def losses(point: Tensor) -> list[Tensor]:
        return [
            fields.control_loss(point, time, mask, CONTROLS),
            words.label_loss(point, time, mask, ids, prompt),
        ]

    for number in range(2):
        point = torch.where(mask[..., None], x, 50.0).requires_grad_()
        loss = losses(point)[number]
        torch.testing.assert_close(loss, losses(x)[number])
        (slope,) = torch.autograd.grad(loss.sum(), point)
        assert not slope[~mask].any() and slope[mask].any(-1).all()


def test_an_unknown_value_is_an_error(fields: FieldClassifier, noisy: tuple[Tensor, Tensor, Tensor]) -> None:
    with pytest.raises(KeyError, match="Norwegian"):
        fields.control_loss(*noisy, [("food", "Norwegian")] * 3)


def released_words(tensors: Tensors) -> WordsClassifier:
    """Our form with the original's weights; its time vectors are a learned table, here row 99."""
    theirs = {k.removeprefix("classifier_attr/param/"): v for k, v in tensors.items() if "attr/param/" in k}
    classifier = WordsClassifier(SETTINGS, theirs["transformer.wte.weight"]).eval()
    ours = {key.replace("transformer.", "trunk."): value for key, value in theirs.items()}
    ours = {key.replace("up_proj.", "up."): value for key, value in ours.items()}
    ours["head.weight"] = theirs["lm_head2.weight"]
    missing = classifier.load_state_dict(
        {k: v for k, v in ours.items() if "wte" not in k}, strict=False
    ).missing_keys
    assert all(key.startswith("time.") or key in ("table", "trunk.wte.weight") for key in missing)
    classifier.time = Fixed(theirs["time_embeddings.weight"][99].expand(2, -1))  # type: ignore[assignment]
    return classifier


def test_the_left_to_right_classifier_of_the_original(tensors: Tensors) -> None:
    """Loss and its gradient for the noisy words; the original scores all label words but the first."""
    classifier = released_words(tensors)
    x, ids = tensors["classifier/x"].clone().requires_grad_(), tensors["classifier_attr/attr_ids"]
    everywhere = torch.ones(2, 6, dtype=torch.bool)
    losses = classifier.label_loss(x, torch.tensor([99, 99]), everywhere, ids, torch.tensor([1, 1]))
    torch.testing.assert_close(losses.mean(), tensors["classifier_attr/loss_t99"], atol=1e-5, rtol=0)
    (slope,) = torch.autograd.grad(losses.mean(), x)
    torch.testing.assert_close(slope, tensors["classifier_attr/grad_x"], atol=1e-6, rtol=1e-4)


def test_the_left_to_right_logits_of_the_original(tensors: Tensors) -> None:
    """Those that predict the second and the third label word."""
    classifier = released_words(tensors)
    seen: list[Tensor] = []
    classifier.head.register_forward_hook(lambda module, inputs, output: seen.append(output))
    everywhere, ids = torch.ones(2, 6, dtype=torch.bool), tensors["classifier_attr/attr_ids"]
    classifier.label_loss(
        tensors["classifier/x"], torch.tensor([99, 99]), everywhere, ids, torch.tensor([1, 1])
    )
    torch.testing.assert_close(seen[0], tensors["classifier_attr/logits_t99"][:, 6:8], atol=1e-5, rtol=0)


def test_only_value_words_count(words: WordsClassifier, noisy: tuple[Tensor, Tensor, Tensor]) -> None:
    """The loss is the mean of -log p(word | words before it) from the first value word on."""
    ids, prompts, logits = torch.tensor([[4, 5, 6, 7]] * 3), (1, 2, 3), []
    words.head.register_forward_hook(lambda module, inputs, output: logits.append(output))
    losses = words.label_loss(*noisy, ids, torch.tensor(prompts))
    costs = -logits[0].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    for row, prompt in enumerate(prompts):
        torch.testing.assert_close(losses[row], costs[row, prompt - 1 :].mean())


def test_padded_labels_change_nothing(words: WordsClassifier, noisy: tuple[Tensor, Tensor, Tensor]) -> None:
    """Values of unequal length share a batch; each text has the loss it has alone, without padding."""
    x, time, mask = noisy
    rows, prompts, lengths = [[4, 5, 6], [7, 8], [9, 4, 5, 6, 7]], [1, 1, 3], (6, 4, 2)
    ids = torch.tensor([row + [PAD] * (5 - len(row)) for row in rows])
    together = words.label_loss(x, time, mask, ids, torch.tensor(prompts))
    for row, length in enumerate(lengths):
        part = (x[row : row + 1, :length], time[row : row + 1], mask[row : row + 1, :length])
        alone = words.label_loss(*part, torch.tensor([rows[row]]), torch.tensor([prompts[row]]))
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)


def test_words_do_not_see_the_labels_behind_them(
    words: WordsClassifier, noisy: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Another second value word leaves what is said of the first one, and moves what follows."""
    logits: list[Tensor] = []
    words.head.register_forward_hook(lambda module, inputs, output: logits.append(output))
    for word in (6, 8):
        words.label_loss(*noisy, torch.tensor([[4, 5, word, 7]] * 3), torch.tensor([1, 1, 1]))
    assert torch.equal(logits[0][:, :2], logits[1][:, :2])
    assert not torch.allclose(logits[0][:, 2], logits[1][:, 2], atol=1e-3)


def test_noisy_batches_hold_known_words_and_match_their_times(make_model: Make) -> None:
    """Free places are at the noise level whose time is given; known places are clean."""
    model = make_model(dimension=64, words=2000, diffusion_steps=20)
    ids = torch.arange(1600).view(100, 16)
    free = torch.arange(16) % 4 != 0
    torch.manual_seed(0)
    x, time = noisy_batch(model, ids, free.expand(100, 16))
    clean = model.embedding(ids).detach()
    assert torch.equal(x[:, ~free], clean[:, ~free]) and not x.requires_grad
    steps = (time / 50).round().long()  # times of T = 20 are 0, 50, ..., 950
    assert steps.bincount(minlength=20).tolist() == [5] * 20
    level = torch.as_tensor(model.process.alpha_bar)[steps].float()
    noise = x[:, free] - level.sqrt()[:, None, None] * clean[:, free]
    ratio = noise.std((1, 2)) / (1 - level).sqrt()
    assert (ratio - 1).abs().max() < 0.15
    torch.testing.assert_close(time, times(model.process, steps))
