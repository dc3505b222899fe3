"""Left-to-right language models of GPT-2's architecture: the teacher that judges, and the baselines.

Word-level models are trained here from scratch; a pretrained GPT-2 (hub name or local folder) is
fine-tuned by the same code. One file holds weights, configuration and tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn

from pipeline import checkpoint
from pipeline.command import Job
from pipeline.corpora.vocabulary import END, SPECIALS, START, Vocabulary
from pipeline.device import device
from pipeline.errors import InputError
from pipeline.pretrained import require_safetensors
from pipeline.records import Text, read_records
from pipeline.training import Batches, TrainingSettings, train

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

KIND = "language model"
IGNORED = -100
TOKENS_PER_WORD = 3  # of sub-word models at most: the release allows 200 tokens for 64 words
END_OF_TEXT = "<|endoftext|>"  # begins and ends a text of a pretrained GPT-2


@dataclass(frozen=True)
class LanguageModelSettings:
    """``source`` is ``train`` (from scratch, word level), ``shared`` (the run's shared language model), or a
    hub name or a local folder of a GPT-2.

    A shared or pretrained model brings its own ``hidden``, ``layers``, ``heads`` and ``positions``.
    """

    source: str
    hidden: int
    layers: int
    heads: int
    positions: int
    dropout: float


@dataclass(frozen=True)
class Row:
    """One training sequence; the loss skips the first ``prompt`` tokens."""

    ids: list[int]
    prompt: int


class LanguageModel(nn.Module):
    """A GPT-2 with its tokenizer. ``start``, ``end``, ``unknown`` and ``pad`` are token ids.

    Args:
        start, end: the tokens that begin and end a text.
        prompt_only: words of a word-level model that stand in prompts; in a text they are UNK.
    """

    def __init__(
        self, network: GPT2LMHeadModel, tokenizer: Tokenizer, start: str, end: str,
        prompt_only: Sequence[str] = (),
    ) -> None:  # fmt: skip
        from transformers import GenerationConfig

        super().__init__()
        self.network, self.tokenizer, self.prompt_only = network, tokenizer, list(prompt_only)
        self.start, self.end = tokenizer.token_to_id(start), tokenizer.token_to_id(end)
        self.unknown, self.word_level = tokenizer.token_to_id("UNK"), isinstance(tokenizer.model, WordLevel)
        self.pad = tokenizer.token_to_id("PAD") if self.word_level else self.end
        tokenizer.encode_special_tokens = True  # a text that spells <|endoftext|> must not end its sequence
        tokens = {"bos_token_id": self.start, "eos_token_id": self.end, "pad_token_id": self.pad}
        network.generation_config = GenerationConfig(**tokens)  # a hub model's own may penalise or cut
        barred = ("START", "PAD", *prompt_only) if self.word_level else ()
        self.barred = [tokenizer.token_to_id(name) for name in barred]  # no text may have them
        self._known = {word: i for word, i in tokenizer.get_vocab().items() if word not in SPECIALS}
        self._written = {word: i for word, i in self._known.items() if word not in self.prompt_only}

    def encode(self, words: Sequence[str]) -> list[int]:
        """Token ids of a text's words; START and END are added by the caller.

        A word that a word-level model does not know, or that spells START, END or PAD, becomes UNK.
        """
        return self._encode(words, self._written)

    def encode_prompt(self, words: Sequence[str]) -> list[int]:
        """Token ids of a prompt's words."""
        return self._encode(words, self._known)

    def _encode(self, words: Sequence[str], known: Mapping[str, int]) -> list[int]:
        if self.word_level:
            return [known.get(word, self.unknown) for word in words]
        ids: list[int] = self.tokenizer.encode(" ".join(words), add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> list[str]:
        """Words of token ids, up to the first END."""
        kept = self.before_end(ids)
        if self.word_level:
            return [word for word in map(self.tokenizer.id_to_token, kept) if word not in ("START", "PAD")]
        added = self.tokenizer.get_added_tokens_decoder()  # whole words that swallowed the space before them
        pieces = [(" " if i in added else "", self.tokenizer.id_to_token(i)) for i in kept]
        text: str = self.tokenizer.decoder.decode([piece for pair in pieces for piece in pair])
        return text.split()

    def before_end(self, ids: Sequence[int]) -> list[int]:
        """The token ids before the first END."""
        return list(ids)[: list(ids).index(self.end)] if self.end in ids else list(ids)

    def row(self, words: Sequence[str], prompt: Sequence[str] = ()) -> Row:
        """The sequence ``prompt START words END``; prompt and START are given, the rest is learned."""
        given = [*self.encode_prompt(prompt), self.start]
        return Row([*given, *self.encode(words), self.end], len(given))

    def word_vectors(self) -> Tensor:
        """The input vectors of all tokens, [V, H]; of a word-level model the vocabulary's words come first.

        Raises:
            InputError: the model reads pieces of words.
        """
        if not self.word_level:
            raise InputError("language_model", "reads pieces of words", "give one with source 'train'")
        return self.network.transformer.wte.weight.detach()

    @torch.no_grad()
    def token_losses(self, rows: Sequence[Row], batch_tokens: int = 4096) -> list[np.ndarray]:
        """Nats of every token after the prompt, END included: one float64 array per row.

        Rows of similar length share a batch; a row's values do not depend on its batch in float32.

        Raises:
            InputError: a row is longer than the model's positions.
        """
        self.check_length(max((len(row.ids) - 1 for row in rows), default=0))
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        losses: list[np.ndarray] = [np.zeros(0)] * len(rows)
        for chosen in _token_batches([len(rows[i].ids) for i in order], batch_tokens):
            indices = [order[i] for i in chosen]
            values = self.losses([rows[i] for i in indices])
            for index, value in zip(indices, values, strict=True):
                learned = slice(rows[index].prompt - 1, len(rows[index].ids) - 1)
                losses[index] = value[learned].double().cpu().numpy()
        return losses

    def losses(self, rows: Sequence[Row]) -> Tensor:
        """Cross-entropy of each next token, [B, L - 1]; 0 on prompt and padding."""
        ids = padded([row.ids for row in rows], self.pad).to(self.network.device)
        place = torch.arange(ids.shape[1] - 1, device=ids.device) + 1
        counted = (place >= _column(rows, "prompt", ids)) & (place < _column(rows, "ids", ids))
        labels = ids[:, 1:].where(counted, torch.tensor(IGNORED, device=ids.device))
        logits = self.network(input_ids=ids[:, :-1], use_cache=False).logits.float()
        flat = nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
        )
        return flat.view_as(labels)

    def most_tokens(self, words: int) -> int:
        """Most tokens of a text of so many words."""
        return words if self.word_level else words * TOKENS_PER_WORD

    def check_length(self, tokens: int) -> None:
        """Check that ``tokens`` can be read at once.

        Raises:
            InputError: the model has fewer positions.
        """
        if tokens > (positions := self.network.config.n_positions):
            what = f"has {positions} positions, but a text with its prompt needs {tokens}"
            raise InputError(KIND, what, "use shorter texts, or train a model with more positions")

    def save(self, path: Path, settings: LanguageModelSettings, **extra: Any) -> None:
        """Write one safetensors file with configuration, tokenizer and ``extra`` in its header."""
        names = {"start": self.tokenizer.id_to_token(self.start), "end": self.tokenizer.id_to_token(self.end)}
        names["prompt_only"] = self.prompt_only
        header = {"model": asdict(settings), "config": self.network.config.to_diff_dict(), **names, **extra}
        weights = {n: w for n, w in self.network.state_dict().items() if n != "lm_head.weight"}  # tied
        checkpoint.save(path, KIND, {**header, "tokenizer": self.tokenizer.to_str()}, weights)

    @classmethod
    def load(cls, path: Path, **expected: Any) -> Self:
        """Read what :meth:`save` wrote, in evaluation mode.

        Args:
            expected: values that the header must have, e.g. ``task`` and ``vocabulary``.

        Raises:
            InputError: missing, damaged, another kind of file, or a header with other values.
        """
        from transformers import GPT2Config

        header, weights = checkpoint.load(path, KIND)
        checkpoint.require(path, header, expected)
        network = _network(GPT2Config(**header["config"]))
        checkpoint.restore(network, path, {**weights, "lm_head.weight": weights["transformer.wte.weight"]})
        tokenizer = Tokenizer.from_str(header["tokenizer"])
        return cls(network, tokenizer, header["start"], header["end"], header["prompt_only"]).eval()


def build(
    settings: LanguageModelSettings, vocabulary: Vocabulary, extra: Sequence[str], seed: int
) -> LanguageModel:
    """A new model: word level from scratch, or a pretrained GPT-2 with UNK and ``extra`` words added.

    Args:
        extra: further whole words of prompts (field names, tags, labels, numbers).
        seed: of the new weights.

    Raises:
        InputError: the pretrained source cannot be loaded.
    """
    torch.manual_seed(seed)
    if settings.source == "train":
        return _scratch(settings, vocabulary, extra).eval()
    return _pretrained(settings, extra).eval()


def extended(
    model: LanguageModel, settings: LanguageModelSettings, extra: Sequence[str], seed: int
) -> LanguageModel:
    """A word-level model that can also read ``extra`` words in prompts; ``seed`` is of their new vectors.

    It takes over the network of ``model``. Only the dropout rate of ``settings`` counts.

    Raises:
        InputError: the model is not word level.
    """
    if not model.word_level:
        what = "a sub-word model has no vocabulary of words to extend"
        raise InputError(KIND, what, "fine-tune the pretrained model itself, or train the shared one")
    torch.manual_seed(seed)
    known = model.tokenizer.get_vocab()
    prompt_only = [word for word in dict.fromkeys(extra) if word not in known]
    words = [*sorted(known, key=known.__getitem__), *prompt_only]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="UNK"))
    model.network.resize_token_embeddings(len(words), mean_resizing=False)
    for part in model.network.modules():
        if isinstance(part, nn.Dropout):
            part.p = settings.dropout
    model.network.config.update(_dropout(settings))
    start, end = (model.tokenizer.id_to_token(i) for i in (model.start, model.end))
    return LanguageModel(model.network, tokenizer, start, end, [*model.prompt_only, *prompt_only]).eval()


def fit(
    model: LanguageModel, rows: Sequence[Row], settings: TrainingSettings, work: Path, name: str, digest: str
) -> None:
    """Train on the mean loss per token of batches of similar length.

    Args:
        work: folder of the resumable state. name: for the progress line.
        digest: names the rows, so that a state is never continued on others.

    Raises:
        InputError: a row is longer than the model's positions.
    """
    model.check_length(max(len(row.ids) for row in rows) - 1)
    batches = Batches(len(rows), settings.batch_size, settings.seed, [len(row.ids) for row in rows])

    def loss(step: int) -> Tensor:
        batch = [rows[i] for i in batches.at(step)]
        mean: Tensor = model.losses(batch).sum() / sum(len(row.ids) - row.prompt for row in batch)
        return mean

    train(model, loss, settings, work, name, digest)


def train_on_corpus(job: Job, name: str) -> None:
    """Train on the training texts as they are, words outside the vocabulary as UNK; save the model.

    ``job.spec`` has ``model`` and ``training``; ``name`` is for the progress line.

    Raises:
        InputError: no text fits the model's positions.
    """
    vocabulary = Vocabulary.load(job.inputs["vocabulary"])
    settings, training = LanguageModelSettings(**job.spec["model"]), TrainingSettings(**job.spec["training"])
    model = build(settings, vocabulary, [], training.seed).to(device())
    texts = [text.tokens for text in read_records(job.inputs["corpus"], Text) if text.split == "train"]
    known = [[word if word in vocabulary else "UNK" for word in tokens] for tokens in texts]
    rows = [row for row in map(model.row, known) if len(row.ids) <= settings.positions]
    if not rows:
        what = f"no text fits {settings.positions} positions"
        raise InputError(job.inputs["corpus"], what, f"raise {name}.model.positions")
    fit(model, rows, training, job.work, name, job.signature)
    model.save(job.outputs["model"], settings, vocabulary=vocabulary.digest())


def padded(sequences: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Sequences as one [B, L] tensor, padded on the right."""
    length = max(map(len, sequences))
    return torch.tensor([[*ids, *[pad] * (length - len(ids))] for ids in sequences])


def _column(rows: Sequence[Row], what: str, like: Tensor) -> Tensor:
    values = [row.prompt if what == "prompt" else len(row.ids) for row in rows]
    return torch.tensor(values, device=like.device)[:, None]


def _token_batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Cut ascending lengths into batches of at most ``tokens`` padded tokens (at least one row each)."""
    batches: list[list[int]] = []
    for index, length in enumerate(lengths):
        if not batches or length * (len(batches[-1]) + 1) > tokens:
            batches.append([])
        batches[-1].append(index)
    return batches


def _scratch(settings: LanguageModelSettings, vocabulary: Vocabulary, extra: Sequence[str]) -> LanguageModel:
    from transformers import GPT2Config

    known = set(vocabulary.words)
    prompt_only = [word for word in dict.fromkeys(extra) if word not in known]
    words = [*vocabulary.words, *prompt_only]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="UNK"))
    sizes = {"n_embd": settings.hidden, "n_layer": settings.layers, "n_head": settings.heads}
    sizes |= {"vocab_size": len(words), "n_positions": settings.positions}
    config = GPT2Config(bos_token_id=START, eos_token_id=END, **sizes, **_dropout(settings))
    return LanguageModel(_network(config), tokenizer, "START", "END", prompt_only)


def _pretrained(settings: LanguageModelSettings, extra: Sequence[str]) -> LanguageModel:
    from transformers import AutoConfig, AutoTokenizer, GPT2LMHeadModel

    how = "give a hub name that can be reached, a local folder with config, weights and tokenizer, or 'train'"
    require_safetensors(settings.source)
    try:
        kind = AutoConfig.from_pretrained(settings.source).model_type
        if kind != "gpt2":
            raise ValueError(f"it is a {kind}")
        tokenizer = AutoTokenizer.from_pretrained(settings.source).backend_tokenizer
        network = GPT2LMHeadModel.from_pretrained(settings.source, use_safetensors=True, **_dropout(settings))
    except (OSError, ValueError) as error:
        raise InputError(settings.source, f"not a GPT-2 ({str(error).splitlines()[0]})", how) from None
    tokenizer.add_tokens([AddedToken(word, single_word=True, lstrip=True) for word in ("UNK", *extra)])
    network.resize_token_embeddings(tokenizer.get_vocab_size(), mean_resizing=False)
    return LanguageModel(network, tokenizer, END_OF_TEXT, END_OF_TEXT)


def _dropout(settings: LanguageModelSettings) -> dict[str, float]:
    return dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), settings.dropout)


def _network(config: Any) -> GPT2LMHeadModel:
    from transformers import GPT2LMHeadModel

    config._attn_implementation = "sdpa"
    return GPT2LMHeadModel(config)
