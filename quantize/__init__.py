"""int8: the frozen backbone's quantised layers, their calibration and their reports."""
