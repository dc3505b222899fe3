"""The spine: records, corpora, training, generation; what every other package may import."""
