"""Writes the demo's sample payloads from real trajectories.

    python -m benchmarks.make_samples ../shared/trajectories telltale/samples

Teacher: gpt-4o on AgentDojo's benign tasks. Student: the same agent after prompt injections of
AgentDojo's `important_instructions` attack that it carried out, in the order of the data set.
"""

import argparse
import gzip
from pathlib import Path

from benchmarks.trajectories import Folder, payloads

MODEL = "dataset = 'agentdojo' and model = 'gpt-4o-2024-05-13' and variant = ''"
SAMPLES = {
    "teacher": f"{MODEL} and condition = 'benign'",
    "student": f"{MODEL} and condition = 'important_instructions' and label_unsafe",
}
MOST = 120
"""Trajectories of each; the alarm comes long before."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    folder = Folder(options.folder)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, where in SAMPLES.items():
        trajectories = folder.select(where, f"demo-{name}")[:MOST]
        content = b"\n".join(payloads(trajectories))
        path = options.output / f"{name}.jsonl.gz"
        path.write_bytes(gzip.compress(content, 9, mtime=0))
        print(f"{path}: {len(trajectories)} trajectories, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
