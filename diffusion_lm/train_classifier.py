"""Train a guidance classifier on the noisy vectors of a trained Diffusion-LM (paper Appendix D).

python -m diffusion_lm.train_classifier --spec SPEC --input corpus=FILE vocabulary=FILE diffusion=FILE \\
    --output model=FILE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from diffusion_lm import train as diffusion
from diffusion_lm.classifiers import ClassifierSettings, FieldClassifier, WordsClassifier, noisy_batch
from diffusion_lm.denoiser import DiffusionLM
from diffusion_lm.layout import canvas_layout, pad_layout
from pipeline import checkpoint
from pipeline.command import Job, command
from pipeline.corpora.vocabulary import END, PAD, START, Vocabulary
from pipeline.device import device
from pipeline.language_model import padded
from pipeline.records import Text, read_records
from pipeline.tasks import field_values
from pipeline.training import Batches, TrainingSettings, train

KIND = "guidance classifier"
SemanticClassifier = FieldClassifier | WordsClassifier


def build(
    settings: ClassifierSettings, model: DiffusionLM, values: dict[str, list[str]]
) -> SemanticClassifier:
    """A new classifier over a corpus' field values, in the form that the settings name."""
    if settings.form == "fields":
        return FieldClassifier(settings, model, values)
    return WordsClassifier(settings, model.embedding.table)


def noisy_texts(model: DiffusionLM, texts: Sequence[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, network times and mask of a batch, laid out and noised as the sampler will show texts."""
    canvas = model.settings.layout == "canvas"
    ids = (canvas_layout(texts) if canvas else pad_layout(texts, model.settings.positions)).to(device())
    mask = ids != PAD if canvas else torch.ones_like(ids, dtype=torch.bool)
    free = mask & (ids != START) & (ids != END) if canvas else mask
    x_t, time = noisy_batch(model, ids, free)
    return x_t, time, mask


def value_rows(vocabulary: Vocabulary, controls: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """``field : value`` as padded word ids [B, M], and how many of them the field takes, [B]."""
    prompts = [[*field.split(), ":"] for field, _ in controls]
    rows = [vocabulary.encode([*p, *value.split()]) for p, (_, value) in zip(prompts, controls, strict=True)]
    return padded(rows, PAD).to(device()), torch.tensor([len(p) for p in prompts], device=device())


def classifier_loss(
    classifier: SemanticClassifier, model: DiffusionLM, vocabulary: Vocabulary, texts: Sequence[Text],
    settings: TrainingSettings,
) -> Callable[[int], Tensor]:  # fmt: skip
    """Loss of a step: every field of the batch's texts, or (form ``words``) one stated value of each."""
    batches = Batches(len(texts), settings.batch_size, settings.seed, [len(text.tokens) for text in texts])
    encoded = [vocabulary.encode(text.tokens) for text in texts]

    def loss(step: int) -> Tensor:
        chosen = batches.at(step)
        x_t, time, mask = noisy_texts(model, [encoded[i] for i in chosen])
        fields = [texts[i].fields or {} for i in chosen]
        if isinstance(classifier, FieldClassifier):
            labels = torch.tensor([classifier.labels(f) for f in fields], device=x_t.device)
            return -classifier.log_probabilities(x_t, time, mask).gather(1, labels).mean()
        draws = torch.rand(len(fields)).tolist()
        controls = [list(f.items())[int(u * len(f))] for f, u in zip(fields, draws, strict=True)]
        return classifier.label_loss(x_t, time, mask, *value_rows(vocabulary, controls)).mean()

    return loss


def main(job: Job) -> None:
    """Train, then save the averaged weights with the field values they know."""
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    model, _ = diffusion.load(job.inputs["diffusion"], vocabulary)
    most_words = model.settings.positions - 2
    records = read_records(job.inputs["corpus"], Text)
    texts = [t for t in records if t.split == "train" and t.fields and len(t.tokens) <= most_words]
    values = field_values(text for text in records if text.split == "train")
    settings = ClassifierSettings(**job.spec["model"])
    classifier = build(settings, model, values).to(device())
    training = TrainingSettings(**job.spec["training"])
    loss = classifier_loss(classifier, model, vocabulary, texts, training)
    train(classifier, loss, training, job.work, "classifier", job.signature)
    header = {"model": asdict(settings), "values": values, "embedding": embedding_digest(model)}
    checkpoint.save(job.outputs["model"], KIND, header, trainable(classifier))


def load(path: Path, model: DiffusionLM) -> SemanticClassifier:
    """A trained classifier of this very Diffusion-LM, frozen, in evaluation mode.

    Raises:
        InputError: missing, damaged, or trained on another model's embeddings.
    """
    header, weights = checkpoint.load(path, KIND)
    checkpoint.require(path, header, {"embedding": embedding_digest(model)})
    classifier = build(ClassifierSettings(**header["model"]), model, header["values"])
    checkpoint.restore(classifier, path, {**classifier.state_dict(), **weights})
    return classifier.to(device()).eval().requires_grad_(False)


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The weights of a module without its buffers (the word table belongs to the Diffusion-LM)."""
    return {name: p.detach() for name, p in module.named_parameters()}


def embedding_digest(model: DiffusionLM) -> str:
    """Hash of the word table that a classifier was trained on."""
    return checkpoint.digest(model.embedding.weight)


if __name__ == "__main__":
    command(main, inputs=("corpus", "vocabulary", "diffusion"), outputs=("model",))
