"""The parameters of jobs: one frozen, bounded model a kind, used by the command line, the search API and the workers.

    catalog      JobParams, CatalogParams; IndexParams, UpsertParams, DeleteParams
    releases     ProjectParams, TrainParams, AdaptParams, TuneParams
    evaluation   EvaluateParams, VisualizeParams, HealthParams, ExperimentParams

The model of a kind is the body of `POST /api/jobs/KIND` and what the job's record stores. A worker reads its parameters
with `IndexParams.of(record)`. What depends on the running system (allowed folders, stored releases) is checked by the
search API before it creates the job.
"""
