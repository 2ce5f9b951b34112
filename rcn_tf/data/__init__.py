"""Packs, dataset configs, pairs and the tf.data pipeline."""
