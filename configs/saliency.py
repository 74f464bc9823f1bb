"""Saliency maps for EPS out of one of our students: `stanet distill --config=saliency --workdir=runs/saliency`."""
from ml_collections import ConfigDict


def get_config():
    return ConfigDict({
        'task': 'saliency',
        'student': 'runs/sta',  # folder of a run of configs/sta.py
        'data': {'name': 'synthvoc', 'root': 'data/synthvoc', 'prepared': '', 'saliency': '', 'workers': 0},
        'batch': 16,  # images of a device
    })
