# Diffusion-LM and its baselines, from corpus to table. `snakemake --cores all` runs the demo;
# `snakemake --cores all --config scale=paper` the paper.
from snakemake.utils import min_version

min_version("9.0")


include: "pipeline/rules/common.smk"
include: "pipeline/rules/corpora.smk"
include: "pipeline/rules/judges.smk"
include: "pipeline/rules/diffusion.smk"
include: "pipeline/rules/baselines.smk"
include: "pipeline/rules/infilling.smk"
include: "pipeline/rules/generate.smk"
include: "pipeline/rules/score.smk"
include: "pipeline/rules/report.smk"
include: "pipeline/rules/figure_files.smk"
include: "pipeline/rules/figures.smk"
include: "pipeline/rules/tune.smk"
include: "pipeline/rules/ablation_files.smk"
include: "pipeline/rules/ablations.smk"
include: "pipeline/rules/likelihood.smk"


rule all:
    default_target: True
    input:
        [f"{RESULTS}/tables/{name}.{kind}" for name in TABLES for kind in ("csv", "md")],
        f"{RESULTS}/tables/signatures.json",
        f"{RESULTS}/report.html",


onstart:
    start_run()


onsuccess:
    show_table()


onerror:
    show_errors()
