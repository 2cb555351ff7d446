"""The catalogue as training data: dataset, splits, cached pixels and masks, sampler, batches, extracted features."""
