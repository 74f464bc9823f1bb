"""STANet and STANet+ in JAX: where people look in a video with sound, learned from its category tag."""


class InputError(Exception):
    """What the user gave cannot be used. The message is one line that names the file or field and the remedy."""
