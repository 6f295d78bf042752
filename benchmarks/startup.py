"""CPU time of `counterproof --help` and of starting Python alone: python benchmarks/startup.py."""

import resource
import statistics
import subprocess
import sys

RUNS = 15


def cpu_seconds(*arguments: str) -> float:
    """Return user and system time of one run of a child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print median, lowest and highest of each command, in milliseconds."""
    print(f"n = {RUNS} runs each, after one that is not counted; CPU ms")
    print("| command | median | lowest | highest |\n|---|---|---|---|")
    for name, arguments in (
        ("python -c pass", ("-c", "pass")),
        ("counterproof --help", ("-m", "counterproof", "--help")),
        ("counterproof --version", ("-m", "counterproof", "--version")),
        ("counterproof scan --help", ("-m", "counterproof", "scan", "--help")),
    ):
        cpu_seconds(*arguments)
        times = [1000 * cpu_seconds(*arguments) for _ in range(RUNS)]
        median = statistics.median(times)
        print(f"| `{name}` | {median:.0f} | {min(times):.0f} | {max(times):.0f} |")


if __name__ == "__main__":
    main()
