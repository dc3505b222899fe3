"""The model behind BERTScore (Zhang et al., 2020): trained on the stories, or a pretrained one.

Numbers of different models, layers or scales do not compare, so a model comes with a signature.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor, nn

from pipeline import checkpoint
from pipeline.corpora.vocabulary import SPECIALS, Vocabulary
from pipeline.device import device
from pipeline.errors import InputError, nearest
from pipeline.files import read_lines
from pipeline.pretrained import require_safetensors

if TYPE_CHECKING:
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerBase

KIND = "BERTScore encoder"
TRAIN, RAW, PUBLISHED = "train", "raw", "published"
MASK = "[MASK]"
_SPECIALS = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
_LONGEST = 512  # tokens, for tokenizers that were saved without a limit
_PAIRS = 16384  # scored at once, which bounds memory


@dataclass(frozen=True)
class EncoderSettings:
    """``source`` is ``train`` (from scratch, word level), a hub name or a local folder.

    ``layer`` is the one whose vectors are compared, counted from 1; 0 is the last one of a trained model, and
    the one that bert-score has for a hub name. ``scale`` is ``raw``, ``published`` (rescaled by the baseline
    that bert-score has for a hub name), or the file of a baseline. A pretrained model brings its own
    ``hidden``, ``layers``, ``heads`` and ``positions``.
    """

    source: str
    layer: int
    scale: str
    hidden: int
    layers: int
    heads: int
    positions: int
    dropout: float

    def resolved(self) -> EncoderSettings:
        """The settings with the number of their layer.

        Raises:
            InputError: there is no such layer, or bert-score has none for this source.
        """
        if self.source != TRAIN:
            return replace(self, layer=self.layer or _known_layer(self.source))
        if not 0 <= self.layer <= self.layers:
            how = f"give one from 1 to {self.layers}, or 0 for the last"
            raise InputError("model.layer", f"there is no layer {self.layer}", how)
        return replace(self, layer=self.layer or self.layers)


class Scale(NamedTuple):
    """Raw F1 ``f`` is shown as 100 (f - baseline) / (1 - baseline)."""

    name: str
    baseline: float = 0.0


class Encoder:
    """BERTScore F1 in percent of pairs of a text and a reference, without IDF weights.

    Args:
        name: of the model, in the signature.
        network: yields the vectors of ``layer`` as its last hidden state.
    """

    def __init__(
        self, name: str, layer: int, scale: Scale, network: nn.Module, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self.scale, self.network, self.tokenizer = scale, network.to(device()).eval(), tokenizer
        self.signature = _signature(name, layer, scale)
        tokenizer.model_max_length = min(tokenizer.model_max_length, _LONGEST)

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """One number per pair; a text without words has raw 0, which bert-score cannot always be asked."""
        raw = np.zeros(len(pairs))
        asked = [i for i, (text, _) in enumerate(pairs) if text.strip()]
        for start in range(0, len(asked), _PAIRS):
            chosen = asked[start : start + _PAIRS]
            raw[chosen] = self._raw([pairs[i] for i in chosen])
        return 100 * (raw - self.scale.baseline) / (1 - self.scale.baseline)

    def _raw(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        from bert_score.utils import bert_cos_score_idf

        texts, references = ([_Sentence(side) for side in sides] for sides in zip(*pairs, strict=True))
        unweighted: defaultdict[int, float] = defaultdict(lambda: 1.0)
        unweighted |= {self.tokenizer.cls_token_id: 0.0, self.tokenizer.sep_token_id: 0.0}
        scores = bert_cos_score_idf(
            self.network, references, texts, self.tokenizer, unweighted, device=device()
        )
        precision, recall, f1 = scores.double().numpy().T
        # Precision and recall of opposite signs would make an F1 of any size.
        return np.where((precision > 0) & (recall > 0), f1, 0.0)


class _Sentence(str):
    """A string whose place in a set is the same in every run.

    bert-score batches sentences in the order of a set, and a vector's last bits depend on its batch.
    """

    def __hash__(self) -> int:
        return zlib.crc32(self.encode())


def _signature(name: str, layer: int, scale: Scale) -> str:
    """bert-score's own, with the baseline where it is not the published one."""
    from bert_score.utils import get_hash

    custom = scale.name not in (RAW, PUBLISHED)
    rescaled = scale.name != RAW
    signed: str = get_hash(name, layer, False, rescaled, custom, False)
    return f"{signed}({scale.baseline:.5f})" if custom else signed


def save(path: Path, settings: EncoderSettings, vocabulary: Vocabulary, model: BertForMaskedLM) -> None:
    """Write a trained encoder: its weights, and in the header what rebuilds it (``settings``: resolved)."""
    header = {"model": asdict(settings), "words": vocabulary.words, "scale": read_scale(settings)}
    checkpoint.save(path, KIND, header, model.bert.state_dict())


def refer(path: Path, settings: EncoderSettings) -> None:
    """Write a file that stands for a pretrained model; it is read from where it is (``settings``: resolved).

    Raises:
        InputError: there is no such model or baseline.
    """
    network, _ = _pretrained(settings.source, settings.layer)
    header = {"model": asdict(settings), "scale": read_scale(settings)}
    checkpoint.save(path, KIND, header | {"content": _digest(network)}, {})


def load(path: Path) -> Encoder:
    """Read an encoder that :func:`save` or :func:`refer` wrote.

    Raises:
        InputError: no such file, no encoder, or its pretrained model is missing or another one by now.
    """
    header, weights = checkpoint.load(path, KIND)
    settings, scale = EncoderSettings(**header["model"]), Scale(*header["scale"])
    if settings.source == TRAIN:
        return _trained(path, settings, scale, header["words"], weights)
    network, tokenizer = _pretrained(settings.source, settings.layer)
    if (content := _digest(network)) != header["content"]:
        how = "write the encoder again, or restore the model"
        raise InputError(path, f"'{settings.source}' is not the model that it stands for", how)
    folder = Path(settings.source)
    name = f"{folder.name}@{content[:8]}" if folder.is_dir() else settings.source
    return Encoder(name, settings.layer, scale, network, tokenizer)


def _trained(
    path: Path, settings: EncoderSettings, scale: Scale, words: Sequence[str], weights: dict[str, Tensor]
) -> Encoder:
    from transformers import BertModel

    network = BertModel(bert_config(settings, len(words)), add_pooling_layer=False)
    checkpoint.restore(network, path, weights)
    name = f"trained-{_digest(network)[:8]}"
    network.encoder.layer = network.encoder.layer[: settings.layer]
    return Encoder(name, settings.layer, scale, network, word_tokenizer(words, settings.positions))


def bert_config(settings: EncoderSettings, words: int) -> BertConfig:
    """The form of a trained encoder: BERT over the vocabulary's words and a mask."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=words + 1,
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * settings.hidden,
        max_position_embeddings=settings.positions,
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.dropout,
        pad_token_id=SPECIALS.index("PAD"),
    )


def word_tokenizer(words: Sequence[str], positions: int) -> PreTrainedTokenizerBase:
    """Words of the vocabulary by their ids, with START as [CLS] and END as [SEP]; the mask comes last."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    names = [*_SPECIALS.values(), *words[len(SPECIALS) :], MASK]
    tokenizer = Tokenizer(WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    ends = [("[CLS]", names.index("[CLS]")), ("[SEP]", names.index("[SEP]"))]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=positions, mask_token=MASK, **_SPECIALS
    )


def read_scale(settings: EncoderSettings) -> Scale:
    """The scale that resolved settings name, with the baseline's F1 at their layer.

    Raises:
        InputError: no such file, no published baseline, or none of this layer.
    """
    if settings.scale == RAW:
        return Scale(RAW)
    path = _published_baseline(settings.source) if settings.scale == PUBLISHED else Path(settings.scale)
    for line in read_lines(path)[1:]:
        number, *scores = line.split(",")
        if number == str(settings.layer):
            return Scale(PUBLISHED if settings.scale == PUBLISHED else "custom", float(scores[-1]))
    raise InputError(path, f"no baseline of layer {settings.layer}", "it needs lines 'LAYER,P,R,F'")


def _published_baseline(source: str) -> Path:
    import bert_score

    folder = Path(bert_score.__file__).parent / "rescale_baseline" / "en"
    path = folder / f"{source}.tsv"
    if not path.is_file():
        how = nearest(source, (file.stem for file in folder.glob("*.tsv")))
        raise InputError("model.scale", f"bert-score has no baseline for '{source}'", how)
    return path


def _known_layer(source: str) -> int:
    from bert_score.utils import model2layers

    if source not in model2layers:
        raise InputError("model.layer", f"bert-score has none for '{source}'", "give the layer to compare")
    return int(model2layers[source])


def _pretrained(source: str, layer: int) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    from bert_score.utils import get_model, get_tokenizer

    how = "give a hub name that can be reached, a local folder with config, weights and tokenizer, or 'train'"
    require_safetensors(source)
    try:
        return get_model(source, layer), get_tokenizer(source)
    except (AssertionError, OSError, ValueError) as error:
        what = (str(error).splitlines() or ["no such layer"])[0]
        raise InputError(source, f"cannot be loaded ({what})", how) from None


def _digest(network: nn.Module) -> str:
    """Hash of what makes the vectors; the pooler does not, and is drawn anew where a model has none."""
    weights = sorted(network.state_dict().items())
    used = [(name, weight) for name, weight in weights if not name.startswith("pooler.")]
    told = [f"{name} {checkpoint.digest(weight.float())}" for name, weight in used]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
