"""Networks, preprocessing and PCA, for the embedder and the trainer. Needs torch (the extra `vitrine[vision]`)."""
