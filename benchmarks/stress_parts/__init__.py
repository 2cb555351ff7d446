"""What `benchmarks/stress.py` sends, how it sends it, and what it reads from /proc."""
