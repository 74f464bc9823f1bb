"""Prediction on streams of frames and on files: by trained students, or by methods without training."""

METHODS = ('heard_cam', 'feature_sum', 'centre')  # without training, see `training_free.TrainingFree`
