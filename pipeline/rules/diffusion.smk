rule diffusion_lm:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        model("diffusion_lm"),
    params:
        spec=spec(**S["diffusion"]),
        code=code_of("diffusion_lm.train"),
    priority: 10  # the longest job of a run: start it first
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/diffusion_lm.log",
    benchmark:
        f"{RESULTS}/benchmarks/diffusion_lm.jsonl"
    resources:
        mem_mb=growing(12000),
        runtime=minutes(1440),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m diffusion_lm.train --spec {params.spec:q} "
        "--input corpus={input.corpus} vocabulary={input.vocabulary} --output model={output} 2> >(log {log})"


rule guidance_classifier:
    input:
        corpus=lambda wildcards: corpus_of(wildcards.task),
        vocabulary=f"{RESULTS}/vocabulary.json",
        diffusion=model("diffusion_lm"),
    output:
        model("{task}_classifier"),
    params:
        spec=classifier_settings,
        code=code_of("diffusion_lm.train_classifier"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/{{task}}_classifier.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}_classifier.jsonl"
    resources:
        mem_mb=growing(12000),
        runtime=minutes(1440),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m diffusion_lm.train_classifier --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} diffusion={input.diffusion} --output model={output} 2> >(log {log})"
