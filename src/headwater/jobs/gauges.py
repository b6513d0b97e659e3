"""What jobs did in this process."""

from headwater.observe.gauges import counter, histogram

RUN_SECONDS = histogram(
    "headwater_jobs_run_seconds",
    "Time of one attempt at a job.",
    ("kind",),
    bounds=(0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0),
)
ENDED = counter("headwater_jobs_ended_runs_total", "Attempts at jobs, by how they ended.", ("kind", "outcome"))
TAKEN_OVER = counter("headwater_jobs_taken_over_runs_total", "Jobs taken over from a worker that died.", ("kind",))
