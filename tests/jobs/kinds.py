"""`headwater` with kinds of jobs to try things with: what follows the script's name is `python -m headwater …`."""

import sys
import threading
from typing import Any

from headwater.boot.house import House
from headwater.cli.main import main
from headwater.domain.errors import BadInput
from headwater.jobs.base import Job, Kind


def steps(job: Job) -> dict[str, Any]:
    began = job.checkpoint["done"] if job.checkpoint else 0
    for done in range(began + 1, job.args["steps"] + 1):
        threading.Event().wait(0.02)
        job.save({"done": done}, done=done, total=job.args["steps"], unit="steps", note="counting")
    return {"began": began, "attempt": job.attempt}


def wrong(job: Job) -> None:
    raise BadInput("there is no such thing", code="BAD_INPUT")


def job_kinds(house: House) -> dict[str, Kind]:
    def durable(job: Job) -> dict[str, int]:
        return {"seq": house.project_of_job(job.project).reader.durable_seq()}

    return {
        "steps": Kind(steps, lane="work"),
        "wrong": Kind(wrong, lane="work"),
        "durable": Kind(durable, lane="care"),
    }


if __name__ == "__main__":
    House.job_kinds = job_kinds  # type: ignore[method-assign]
    sys.argv = ["headwater", *sys.argv[4:]]
    main()
