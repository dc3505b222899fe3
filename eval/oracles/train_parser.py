"""Train a constituency parser on a treebank, or take a pretrained one.

python -m eval.oracles.train_parser --spec SPEC [--input corpus=FILE] --output model=FILE

``source`` of SPEC is ``train``, the name of a public benepar model, or a local path to one. The corpus is
needed for the embedded treebanks only.
"""

from __future__ import annotations

from pathlib import Path

from eval.oracles import parser
from eval.oracles.treebanks import read_bracketed, require_trainable
from pipeline.command import Job, command
from pipeline.training import TrainingSettings


def main(job: Job) -> None:
    """Write the parser."""
    spec, output = job.spec, job.outputs["model"]
    if spec["source"] != "train":
        parser.refer(output, spec["source"])
        return
    require_trainable(spec["treebank"])
    settings, training = parser.ParserSettings(**spec["model"]), TrainingSettings(**spec["training"])
    sentences = read_bracketed(spec["treebank"], "train", Path(spec["data_dir"]), job.inputs.get("corpus"))
    model = parser.build(settings, sentences)
    parser.fit(model, sentences, settings, training, job.work, f"parser {spec['treebank']}", job.signature)
    parser.save(output, model, settings, spec["treebank"])


if __name__ == "__main__":
    command(main, outputs=("model",), open_ended=True, section="$defs/judge/properties/parser")
