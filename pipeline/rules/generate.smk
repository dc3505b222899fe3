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
    log:
        f"{RESULTS}/logs/generate/{{task}}_{{method}}_seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/generate/{{task}}_{{method}}_seed{{seed}}.jsonl"
    resources:
        mem_mb=6000,
        runtime=1440,
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.generate --spec {params.spec:q} --input targets={input.targets} "
        "vocabulary={input.vocabulary} {params.models} --output samples={output} 2> >(tee {log} >&2)"


ruleorder: human > generate
