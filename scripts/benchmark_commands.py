"""Wall seconds of the commands people wait for: medians over several runs, after one warm-up.

python scripts/benchmark_commands.py studies/quickstart
"""

import statistics
import subprocess
import sys
import time

RUNS = 5


def main(root: str) -> None:
    commands = {
        "--help": ["--help"],
        "findings": ["findings", root],
        "status": ["status", root],
        "report": ["report", root],
        "plan quickstart": ["plan", "quickstart"],
    }
    print("| command | median of 5 (s) | min to max |\n|---|---|---|")
    for name, words in commands.items():
        times = [seconds_of(words) for _ in range(RUNS + 1)][1:]
        print(f"| {name} | {statistics.median(times):.2f} | {min(times):.2f} to {max(times):.2f} |")


def seconds_of(words: list[str]) -> float:
    """Wall seconds of one run; its output is thrown away."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "rethink_ray.cli", *words], check=True, stdout=-3)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(sys.argv[1])
