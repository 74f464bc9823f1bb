"""Campaigns that torture the product by a seed: kills, damaged media and other files, full disks, long work, two processes at once."""
