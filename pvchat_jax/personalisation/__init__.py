"""From one video of a drawn person to a model that knows the person: read the looks, draw clips, train, calibrate."""
