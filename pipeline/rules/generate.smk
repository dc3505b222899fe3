def models_of(wildcards):
    """The trained files that a method reads for a task, by the names its configuration gives them."""
    if wildcards.method not in METHODS:
        return {}
    named_models = METHODS[wildcards.method]["tasks"][wildcards.task]
    return {name: model(file) for name, file in named_models.items()}


def settings_of(wildcards):
    """A method's own settings, with guidance for this task only: other tasks' guidance reruns nothing."""
    method = {key: value for key, value in METHODS[wildcards.method].items() if key != "tasks"}
    if "guidance" in method:
        method["guidance"] = {
            task: value for task, value in method["guidance"].items() if task == wildcards.task
        }
    return spec(
        name=wildcards.method,
        method=method,
        samples=method.get("samples", S["samples"][wildcards.task]),
        seed=int(wildcards.seed),
        most_words=S["diffusion"]["model"]["positions"] - 2,
    )


rule generate:
    input:
        unpack(models_of),
        targets=f"{RESULTS}/targets/{{task}}.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
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
        PYTHON + " -m pipeline.generate --spec {params.spec:q} --input targets={input.targets} "
        "vocabulary={input.vocabulary} {params.models} --output samples={output} " + STATED


ruleorder: human > generate
