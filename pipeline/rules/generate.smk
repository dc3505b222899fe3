rule generate:
    input:
        unpack(models_of),
        targets=f"{RESULTS}/targets/{{task}}.jsonl",
        vocabulary=lambda wildcards: vocabulary_of(wildcards.task),
    output:
        f"{RESULTS}/samples/{{task}}/{{method}}/seed{{seed}}.jsonl",
    params:
        spec=settings_of,
        models=lambda wildcards: named(models_of(wildcards)),
        code=lambda wildcards: fingerprint("pipeline.generate", METHODS[wildcards.method]["module"]),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/generate/{{task}}_{{method}}_seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/generate/{{task}}_{{method}}_seed{{seed}}.jsonl"
    resources:
        mem_mb=growing(12000),
        runtime=minutes(2880),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.generate --spec {params.spec:q} --input targets={input.targets} "
        "vocabulary={input.vocabulary} {params.models} --output samples={output} 2> >(log {log})"


# Texts that look good and are not: what the guards must catch. One job for all of them and all tasks.
rule cheaters:
    input:
        corpus=corpus_of(SYNTAX[0]),
        targets=expand(f"{RESULTS}/targets/{{task}}.jsonl", task=CHEATED_TASKS),
    output:
        list(cheater_files().values()),
    params:
        spec=spec(seed=SEEDS[0], samples={task: S["samples"][task] for task in CHEATED_TASKS}),
        code=code_of("eval.cheaters"),
        targets=named({f"targets/{task}": f"{RESULTS}/targets/{task}.jsonl" for task in CHEATED_TASKS}),
        samples=named(cheater_files()),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/cheaters.log",
    benchmark:
        f"{RESULTS}/benchmarks/cheaters.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(60),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.cheaters --spec {params.spec:q} --input corpus={input.corpus} {params.targets} "
        "--output {params.samples} 2> >(log {log})"


ruleorder: cheaters > human > generate
