"""Experiments: releases made one after the other, evaluations of them, and one report."""
