"""Page faults of repeated forward passes."""

import subprocess
import sys

import pytest

_PASSES = 10
# Aligned blocks leave small gaps. The heap is stable once malloc's cache of small chunks is full.
_WARMING_PASSES = 30
_BLOCK_BYTES = 32 * 1024 * 1024

# In a separate process, because malloc is configured once per process and torch is large.
_FAULTS_OF_PASSES = f"""
{{before}}
import resource, threading
import torch

def passes(count):
    for _ in range(count):
        torch.empty({_BLOCK_BYTES}, dtype=torch.uint8).fill_(1)

def in_a_thread():
    passes({_WARMING_PASSES})
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    passes({_PASSES})
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)

thread = threading.Thread(target=in_a_thread)
thread.start()
thread.join()
"""


def page_faults(before: str) -> int:
    code = _FAULTS_OF_PASSES.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc's malloc is configured to keep memory")
def test_a_pass_reuses_the_pages_of_the_pass_before() -> None:
    kept = page_faults("from vitrine.vision.process import configure_process; configure_process()")
    fresh = page_faults("")
    assert kept < fresh / 10, f"{kept} pages faulted where freed memory is kept, {fresh} where it is not"
