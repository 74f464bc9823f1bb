import numpy as np
import PIL.Image
import pytest

from stanet_jax.media.contact_sheet import contact_sheet


@pytest.mark.parametrize('name, kind', [('sheet.png', 'PNG'), ('sheet.jpg', 'JPEG')])
def test_the_suffix_says_of_which_kind_a_sheet_is(tmp_path, name, kind):
    red, blue = (np.full((20, 30, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255)))
    contact_sheet(tmp_path / name, [('first', [('red', red)]), ('second', [('blue', blue)])], side=16, across=1)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    with PIL.Image.open(tmp_path / name) as sheet:
        pixels = np.asarray(sheet.convert('RGB'), int)
        assert sheet.format == kind
    half = len(pixels) // 2
    assert (pixels[:half, :, 0] > 200).sum() > 200 and (pixels[half:, :, 2] > 200).sum() > 200
