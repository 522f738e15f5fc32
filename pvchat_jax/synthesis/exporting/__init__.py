"""From clips and questions to the files of a training set."""
