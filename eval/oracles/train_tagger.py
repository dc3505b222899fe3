"""Train a part-of-speech tagger on a treebank, or take a pretrained one.

python -m eval.oracles.train_tagger --spec SPEC [--input corpus=FILE] --output model=FILE

``source`` of SPEC is ``train``, the name of an installed spaCy package, or a folder of one. The corpus is
needed for the embedded treebanks only.
"""

from __future__ import annotations

from pathlib import Path

from eval.oracles import tagger
from eval.oracles.treebanks import read_tagged, require_trainable
from pipeline.command import Job, command


def main(job: Job) -> None:
    """Write the tagger."""
    spec, output = job.spec, job.outputs["model"]
    if spec["source"] != "train":
        tagger.refer(output, spec["source"])
        return
    require_trainable(spec["treebank"])
    settings = tagger.TaggerSettings(**spec["model"])
    sentences = read_tagged(spec["treebank"], "train", Path(spec["data_dir"]), job.inputs.get("corpus"))
    nlp = tagger.fit(sentences, settings, f"tagger {spec['treebank']}")
    tagger.save(output, nlp, settings, spec["treebank"])


if __name__ == "__main__":
    command(main, outputs=("model",), open_ended=True, section="$defs/judge/properties/tagger")
