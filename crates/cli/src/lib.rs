//! Pre-training of language models whose normalization is a choice.
