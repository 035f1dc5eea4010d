"""Sound to features: reading, the log-mel front end in training's and in the board's arithmetic, augmentation."""
