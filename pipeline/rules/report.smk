KINDS = ("samples", "selected", "scores")


def table_files():
    """Every file the table is made of, named for the command."""
    files = {f"targets/{task}": f"{RESULTS}/targets/{task}.jsonl" for task in TASKS}
    for kind in KINDS:
        for task in TASKS:
            for name, path in cells(kind, task).items():
                files[name.replace(kind, f"{kind}/{task}", 1)] = path
    return files


rule control_table:
    input:
        list(table_files().values()),
    output:
        csv=f"{RESULTS}/tables/control.csv",
        markdown=f"{RESULTS}/tables/control.md",
    params:
        spec=spec(seed=0),
        code=fingerprint("eval.tables"),
        inputs=named(table_files()),
    log:
        f"{RESULTS}/logs/control_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/control_table.jsonl"
    resources:
        mem_mb=4000,
        runtime=20,
    conda:
        ENVIRONMENT
    shell:
        PYTHON + " -m eval.tables --spec {params.spec:q} --input {params.inputs} "
        "--output csv={output.csv} markdown={output.markdown} " + STATED


def show_table():
    """Print the table at the end of a run."""
    table = Path(RESULTS) / "tables" / "control.md"
    if table.is_file():
        print(table.read_text(encoding="utf-8"))
        print(f"Tables: {table.parent}. Texts: {RESULTS}/samples.")
    if S["scale"] == "demo":
        print("This was the demo. The full reproduction: snakemake --cores all --config scale=paper")
