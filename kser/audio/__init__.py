"""Sound to features: reading, log-mel for training and in the arithmetic of a board, augmentation."""
