"""Tagger and span classifier: the original's numbers, charts, and what a text's loss may depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.syntax_classifiers import (
    BERT_SCALE,
    IGNORED,
    NO_LABEL,
    SpanClassifier,
    SyntaxClassifier,
    SyntaxSettings,
    TagClassifier,
    batch_rows,
    cell,
)
from pipeline.corpora.vocabulary import SPECIALS
from pipeline.errors import InputError
from pipeline.tasks import UNIVERSAL_TAGS
from pipeline.trees import Span, spans

Tensors = Mapping[str, Tensor]
Make = Callable[..., DiffusionLM]
SETTINGS = SyntaxSettings(
    form="body", hidden=16, layers=1, heads=2, intermediate=32, positions=17, time_channels=8,
    dropout=0.0, seed=0,
)  # fmt: skip
FORMS = {
    "body": SETTINGS,
    "paper": replace(SETTINGS, form="paper"),
    "full body": replace(SETTINGS, full_chart=True),
    "full paper": replace(SETTINGS, form="paper", full_chart=True),
}
every_form = pytest.mark.parametrize("settings", FORMS.values(), ids=FORMS)
LABELS = ("NP", "VP", "S", "S::VP", "PP")
TREES = (
    "(TOP (S (NP (DT *) (NN *)) (VP (VBZ *) (ADJP (JJ *))) (. *)))",
    "(TOP (NP (NN *)) (S (VP (VB *))))",
    "(S (NP (PRP *)) (VP (VBP *) (PP (IN *))))",
)
WORDS = (5, 2, 3)
TAGS = (["DET", "NOUN", "AUX", "ADJ", "PUNCT"], ["NOUN", "VERB"], ["PRON", "VERB", "ADP"])


@pytest.fixture
def make_noisy() -> Callable[[DiffusionLM], tuple[Tensor, Tensor, Tensor]]:
    """Noisy vectors, times and mask of the three texts; a padded layout has no place beyond a text."""

    def make(model: DiffusionLM) -> tuple[Tensor, Tensor, Tensor]:
        canvas = model.settings.layout == "canvas"
        places = max(WORDS) + 2 if canvas else model.settings.positions
        x = torch.randn(3, places, 4, generator=torch.Generator().manual_seed(1))
        lengths = torch.tensor(WORDS)[:, None] + 2 if canvas else places
        return x, torch.tensor([5.0, 500.0, 900.0]), torch.arange(places).expand(3, -1) < lengths

    return make


Noisy = Callable[[DiffusionLM], tuple[Tensor, Tensor, Tensor]]


def asked(classifier: TagClassifier | SpanClassifier) -> list[Tensor]:
    """The rows of the three texts."""
    if isinstance(classifier, TagClassifier):
        return [classifier.row(tags) for tags in TAGS]
    return [classifier.row(spans(tree), words) for tree, words in zip(TREES, WORDS, strict=True)]


def both(settings: SyntaxSettings, model: DiffusionLM) -> list[TagClassifier | SpanClassifier]:
    return [TagClassifier(settings, model).eval(), SpanClassifier(settings, model, LABELS).eval()]


# --- the original's numbers


class Fixed(nn.Module):
    """A stand-in network that always answers the same."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *_: object) -> Tensor:
        return self.answer


def load_released(body: nn.Module, theirs: Mapping[str, Tensor]) -> None:
    """Weights of the original's trunk; its time vectors are a learned table, here row 99."""
    renames = {
        "attention.output.dense": "attention_out", "attention.output.LayerNorm": "attention_norm",
        "intermediate.dense": "up", "output.dense": "down", "output.LayerNorm": "norm",
    }  # fmt: skip
    embeddings, layer = "transformer.embeddings.", "transformer.encoder.layer.0."
    one_kind = theirs[embeddings + "token_type_embeddings.weight"][0]  # every token is of the first kind
    ours = {"positions.weight": theirs[embeddings + "position_embeddings.weight"] + one_kind}
    for kind in ("weight", "bias"):
        ours |= {f"up.{i}.{kind}": theirs[f"up_proj.{i}.{kind}"] for i in (0, 2)}
        ours[f"norm.{kind}"] = theirs[f"{embeddings}LayerNorm.{kind}"]
        parts = [theirs[f"{layer}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
        ours[f"encoder.layers.0.attention_in.{kind}"] = torch.cat(parts)
        named = {name: theirs[f"{layer}{key}.{kind}"] for key, name in renames.items()}
        ours |= {f"encoder.layers.0.{name}.{kind}": value for name, value in named.items()}
    missing, unexpected = body.load_state_dict(ours, strict=False)
    assert not unexpected and all(key.startswith(("time.", "head.")) for key in missing)
    body.time = Fixed(theirs["time_embeddings.weight"][99].expand(2, -1))


def released(tensors: Tensors, kind: str) -> dict[str, Tensor]:
    start = f"classifier_{kind}/param/"
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


def released_model(make_model: Make) -> DiffusionLM:
    """A model of the shape that the original's classifiers read: texts of six places."""
    return make_model(positions=6)


RELEASED = replace(SETTINGS, form="paper", positions=16, full_chart=True)


def test_the_tagger_of_the_original(tensors: Tensors, make_model: Make) -> None:
    """Logits, loss, and its gradient for the noisy words. Five classes there, more here: those are out."""
    classifier, theirs = TagClassifier(RELEASED, released_model(make_model)).eval(), released(tensors, "pos")
    load_released(classifier.body, theirs)
    body: Any = classifier.body
    classes = len(theirs["lm_head2.weight"])
    with torch.no_grad():
        body.head.weight[:classes], body.head.bias[:classes] = theirs["lm_head2.weight"], 0
        body.head.bias[classes:] = -torch.inf
    x = tensors["classifier/x"].clone().requires_grad_()
    noisy = (x, torch.tensor([99, 99]), torch.ones(2, 6, dtype=torch.bool))
    logits = classifier.read(*noisy)[..., :classes]
    torch.testing.assert_close(logits, tensors["classifier_pos/logits_t99"], atol=1e-5, rtol=0)
    loss = classifier.loss(*noisy, tensors["classifier_pos/labels"]).sum() / 12
    torch.testing.assert_close(loss, tensors["classifier_pos/loss_t99"], atol=1e-5, rtol=0)
    (slope,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(slope, tensors["classifier_pos/grad_x"], atol=1e-6, rtol=1e-4)


def released_spans(tensors: Tensors, make_model: Make) -> SpanClassifier:
    classifier = SpanClassifier(
        RELEASED, released_model(make_model), LABELS
    ).eval()  # six classes, none first
    theirs = released(tensors, "tree")
    load_released(classifier.body, theirs)
    body: Any = classifier.body
    of_last, of_first = theirs["lm_head2.0.weight"].chunk(2, 1)  # the pair is (h_last, h_first)
    with torch.no_grad():
        body.head.weight.copy_(torch.cat([of_first, of_last]))
        body.head.bias.copy_(torch.cat([torch.zeros(16), theirs["lm_head2.0.bias"]]))
        classifier.label.weight.copy_(theirs["lm_head2.2.weight"])
    return classifier


def square(classifier: SpanClassifier, *noisy: Tensor) -> Tensor:
    """Label logits of all pairs of places, [B, L, L, labels], as the original computes them."""
    firsts, lasts = classifier.read(*noisy).chunk(2, -1)
    return classifier.scores(firsts[:, :, None], lasts[:, None])


def cells(chart: Tensor) -> Tensor:
    """The cells of a chart [..., n, n] on and above the diagonal, as a row."""
    last, first = torch.tril_indices(chart.shape[-1], chart.shape[-1])
    return chart[..., first, last]


def test_the_span_classifier_of_the_original(tensors: Tensors, make_model: Make) -> None:
    """Logits of all pairs, loss over the chart, and its gradient for the noisy words."""
    classifier = released_spans(tensors, make_model)
    x = tensors["classifier/x"].clone().requires_grad_()
    noisy = (x, torch.tensor([99, 99]), torch.ones(2, 6, dtype=torch.bool))
    torch.testing.assert_close(
        square(classifier, *noisy), tensors["classifier_tree/logits_t99"], atol=1e-5, rtol=0
    )
    rows = cells(tensors["classifier_tree/chart"])
    loss = classifier.loss(*noisy, rows).sum() / rows.numel()
    torch.testing.assert_close(loss, tensors["classifier_tree/loss_t99"], atol=1e-5, rtol=0)
    (slope,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(slope, tensors["classifier_tree/grad_x"], atol=1e-6, rtol=1e-4)


def test_the_control_of_one_span_of_the_original(tensors: Tensors, make_model: Make) -> None:
    """It is one entry of the chart, both ends moved by one for START."""
    classifier = released_spans(tensors, make_model)
    (entry,) = (tensors["chart/span_1_4_PP"] != IGNORED).nonzero().tolist()
    assert entry == [1, 4]
    noisy = (tensors["classifier/x"], torch.tensor([99, 99]), torch.ones(2, 6, dtype=torch.bool))
    label, ends = torch.tensor([4, 4]), (torch.tensor([0, 0]), torch.tensor([3, 3]))
    losses = classifier.span_loss(*noisy, ends, label)
    expected = -tensors["classifier_tree/logits_t99"][:, 1, 4].log_softmax(-1)[:, 4]
    torch.testing.assert_close(losses, expected, atol=1e-5, rtol=0)


REFERENCE = "(S (NP (DT The) (NN pub)) (VP (VBZ is) (ADJP (JJ cheap))) (. .))"
REFERENCE_LABELS = ("S", "NP", "VP", "PP", "ADJP", "S::VP")  # classes 1, 2, ... of the stored charts


def relabelled(classifier: SpanClassifier, chart: Tensor) -> Tensor:
    """A stored chart in our classes, which follow the alphabet."""
    ours = torch.tensor([0, *(classifier.labels[label] for label in REFERENCE_LABELS)])
    return ours[cells(chart)]


def test_charts_of_the_original(tensors: Tensors, make_model: Make) -> None:
    """Words alone, and the padded chart of 64 places."""
    inside = SpanClassifier(SETTINGS, make_model(), REFERENCE_LABELS)
    row = inside.row(spans(REFERENCE), 5)
    assert row.tolist() == relabelled(inside, tensors["chart/from_tree"]).tolist()
    full = SpanClassifier(replace(SETTINGS, full_chart=True), make_model(positions=64), REFERENCE_LABELS)
    row = full.row(spans(REFERENCE), 5)
    assert len(row) == 2080
    assert row.tolist() == relabelled(full, tensors["chart/padded"]).tolist()


# --- rows


def test_rows_of_tags_name_the_classes(make_model: Make) -> None:
    model, tags = make_model(positions=8), ["NOUN", "VERB"]
    row = TagClassifier(SETTINGS, model).row(tags)
    assert [UNIVERSAL_TAGS[number] for number in row] == tags
    names = (*SPECIALS, *UNIVERSAL_TAGS)
    row = TagClassifier(FORMS["full paper"], model).row(tags)
    assert [names[number] for number in row] == ["START", *tags, "END", *["PAD"] * 4]
    row = TagClassifier(FORMS["full paper"], make_model(positions=8, layout="canvas")).row(tags)
    assert [names[number] for number in row] == ["START", *tags, "END"]


def test_the_row_of_a_short_text_begins_that_of_a_long_one() -> None:
    """Cells of n words come before any cell of word n + 1, each once."""
    places = [cell(first, last) for last in range(6) for first in range(last + 1)]
    assert places == list(range(21)) and cell(0, 6) == 21


def test_unknown_labels_of_a_tree_are_the_outermost_or_nothing(make_model: Make) -> None:
    classifier = SpanClassifier(SETTINGS, make_model(), LABELS)
    wanted = [Span(0, 1, "NP::QP"), Span(0, 2, "QP"), Span(0, 0, "S::VP")]
    row = classifier.row(wanted, 3)
    assert row[cell(0, 1)] == classifier.labels["NP"]
    assert row[cell(0, 2)] == IGNORED
    assert row[cell(0, 0)] == classifier.labels["S::VP"]
    assert row[cell(1, 1)] == row[cell(1, 2)] == row[cell(2, 2)] == classifier.labels[NO_LABEL] == 0


# --- losses


@every_form
def test_losses_are_sums_of_log_probabilities(
    make_model: Make, make_noisy: Noisy, settings: SyntaxSettings
) -> None:
    """Over words, or over every span of words, computed the long way from all places and all pairs."""
    model = make_model()
    tagger, parser = both(settings, model)
    assert isinstance(tagger, TagClassifier) and isinstance(parser, SpanClassifier)
    noisy, shift = make_noisy(model), 0 if settings.full_chart else 1
    logs = tagger.read(*noisy).log_softmax(-1)
    found = tagger.loss(*noisy, batch_rows(asked(tagger), torch.device("cpu")))
    for text, row in enumerate(asked(tagger)):
        expected = -sum(logs[text, shift + i, number] for i, number in enumerate(row.tolist()))
        torch.testing.assert_close(found[text], expected)
    logs = square(parser, *noisy).log_softmax(-1)
    found = parser.loss(*noisy, batch_rows(asked(parser), torch.device("cpu")))
    for text, row in enumerate(asked(parser)):
        places = 16 if settings.full_chart else WORDS[text]
        pairs = [(i, j) for j in range(places) for i in range(j + 1) if row[cell(i, j)] != IGNORED]
        expected = -sum(logs[text, shift + i, shift + j, int(row[cell(i, j)])] for i, j in pairs)
        torch.testing.assert_close(found[text], expected, rtol=1e-5, atol=1e-4)


def test_the_pair_head_is_that_of_joined_vectors(make_model: Make, make_noisy: Noisy) -> None:
    """Linear, tanh, Linear on (h_last, h_first), which would be computed for every pair."""
    model = make_model()
    classifier = SpanClassifier(replace(FORMS["paper"], pair=5), model, LABELS).eval()
    body: Any = classifier.body
    hidden: list[Tensor] = []
    body.head.register_forward_hook(lambda module, inputs, output: hidden.append(inputs[0]))
    scores = square(classifier, *make_noisy(model))
    h, (of_first, of_last) = hidden[0], body.head.weight.chunk(2)
    places = h.shape[1]
    pairs = torch.cat([h[:, None].expand(-1, places, -1, -1), h[:, :, None].expand(-1, -1, places, -1)], -1)
    joined = pairs @ torch.cat([of_last, of_first], 1).T  # [B, first, last, P]
    expected = classifier.label(torch.tanh(joined + sum(body.head.bias.chunk(2))))
    torch.testing.assert_close(scores, expected)


@every_form
def test_one_span_costs_what_its_cell_of_the_chart_does(
    make_model: Make, make_noisy: Noisy, settings: SyntaxSettings
) -> None:
    model = make_model()
    classifier, noisy = SpanClassifier(settings, model, LABELS).eval(), make_noisy(model)
    first, last, labels = torch.tensor([0, 1, 0]), torch.tensor([4, 1, 2]), torch.tensor([3, 1, 5])
    found = classifier.span_loss(*noisy, (first, last), labels)
    shift = 1 - classifier.start
    rows = torch.full((3, cell(0, 16 if settings.full_chart else 5)), IGNORED)
    for text in range(3):
        rows[text, cell(int(first[text]) + shift, int(last[text]) + shift)] = labels[text]
    torch.testing.assert_close(found, classifier.loss(*noisy, rows))


@every_form
@pytest.mark.parametrize("layout", ["canvas", "pad"])
def test_a_batch_equals_its_texts_alone(
    make_model: Make, make_noisy: Noisy, settings: SyntaxSettings, layout: str
) -> None:
    """Values and gradients; places beyond a text get none, and every place of the text does."""
    model = make_model(layout=layout, self_conditioning=layout == "canvas")
    for classifier in both(settings, model):
        x, time, mask = make_noisy(model)
        x.requires_grad_()
        rows = asked(classifier)
        together = classifier.loss(x, time, mask, batch_rows(rows, x.device))
        (slope,) = torch.autograd.grad(together.sum(), x)
        assert not slope[~mask].any() and slope[mask].any(-1).all()
        for text, length in enumerate(mask.sum(1).tolist()):
            one = slice(text, text + 1)
            alone = classifier.loss(x[one, :length], time[one], mask[one, :length], rows[text][None])
            torch.testing.assert_close(alone[0], together[text], atol=1e-4, rtol=0)
            (its,) = torch.autograd.grad(alone.sum(), x)
            torch.testing.assert_close(its[text], slope[text], atol=1e-5, rtol=0)


# --- how they begin


def test_the_body_starts_from_the_denoiser(make_model: Make) -> None:
    model = make_model(self_conditioning=True)
    denoiser = model.denoiser.state_dict()
    for classifier in both(SETTINGS, model):
        body = classifier.body.state_dict()
        assert all(torch.equal(body[name], denoiser[name]) for name in body if not name.startswith("down.2"))


def test_the_paper_form_starts_as_bert_does(make_model: Make) -> None:
    settings = replace(FORMS["paper"], hidden=128)
    for classifier in both(settings, make_model()):
        for name, weight in classifier.named_parameters():
            if weight.dim() == 2 and not name.startswith("body.time"):
                assert abs(float(weight.detach().std()) / BERT_SCALE - 1) < 0.15, name


def test_labels_are_in_alphabetical_order_behind_none(make_model: Make) -> None:
    classifier = SpanClassifier(SETTINGS, make_model(), LABELS)
    assert list(classifier.labels) == ["", "NP", "PP", "S", "S::VP", "VP"]


def test_the_pair_width_is_a_setting(make_model: Make) -> None:
    """0 is the width of the body: the denoiser's, or the classifier's own."""
    widths = [
        SpanClassifier(replace(FORMS[form], pair=pair), make_model(), LABELS).label.in_features
        for form, pair in (("body", 0), ("paper", 0), ("body", 5), ("paper", 5))
    ]
    assert widths == [32, 16, 5, 5]


def test_too_few_positions_are_refused(make_model: Make) -> None:
    settings = replace(FORMS["paper"], positions=16)
    with pytest.raises(InputError, match="16 positions are too few .* give at least 17"):
        SyntaxClassifier(settings, make_model(), 3)
