"""The names of ImageNet's and AudioSet's classes, what is seen when a sound is heard, and what the tags of a set mean."""
import csv
import importlib.resources

import numpy as np
import pytest

from stanet_jax.models import backbones
from stanet_jax.models.backbones import classes

AVE = ('Church bell', 'Male speech, man speaking', 'Bark', 'Fixed-wing aircraft, airplane', 'Race car, auto racing',
       'Female speech, woman speaking', 'Helicopter', 'Violin, fiddle', 'Flute', 'Ukulele', 'Frying (food)', 'Truck', 'Shofar',
       'Motorcycle', 'Acoustic guitar', 'Train horn', 'Clock', 'Banjo', 'Goat', 'Baby cry, infant cry', 'Bus', 'Chainsaw', 'Cat',
       'Horse', 'Toilet flush', 'Rodents, rats, mice', 'Accordion', 'Mandolin')
DOGS = set(range(151, 269))


def heard(*tags):
    names = classes.sound_classes()
    return [{names[k] for k in np.flatnonzero(row)} for row in classes.heard_as(tags)]


def seen(sound):
    return set(np.flatnonzero(classes.seen_when_heard()[classes.sound_classes().index(sound)]))


def table(name):
    lines = (importlib.resources.files(classes.__package__) / name).read_text('utf-8').splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith('#')))


def test_the_classes_of_sound_have_names():
    names = backbones.sound_classes()
    assert len(names) == 521 == len(set(names)) and names[:2] == ('Speech', 'Child speech, kid speaking')
    assert names[494] == 'Silence' and {'Bark', 'Violin, fiddle', 'Car', 'Cat'} <= set(names)


def test_the_classes_of_images_have_names():
    names = backbones.image_classes()
    assert len(names) == 1000 == len({name.lower() for name in names})
    spots = {0: 'tench', 7: 'cock', 88: 'macaw', 134: 'crane bird', 151: 'Chihuahua', 207: 'golden retriever', 264: 'Cardigan Welsh corgi',
             281: 'tabby', 402: 'acoustic guitar', 474: 'cardigan', 517: 'crane', 638: 'maillot', 639: 'maillot tank suit',
             817: 'sports car', 889: 'violin', 982: 'groom', 999: 'toilet tissue'}
    assert {k: names[k] for k in spots} == spots


def test_images_are_in_the_order_of_their_synsets():
    synsets = [row['synset'] for row in table('imagenet.csv')]
    assert synsets == sorted(set(synsets)) and synsets[0] == 'n01440764' and synsets[-1] == 'n15075141'


def test_the_columns_are_well_formed():
    for row in table('audioset.csv'):
        tags = row['tags'].split(';') if row['tags'] else []
        assert len(set(tags)) == len(tags) and all(tag and tag == tag.lower().strip() for tag in tags), row['name']
        ends = [int(end) for part in filter(None, row['seen'].split(';')) for end in dict.fromkeys(part.split('-'))]
        assert ends == sorted(set(ends)) and all(0 <= end < 1000 for end in ends), row['name']


@pytest.mark.parametrize('sound, image', [
    ('Roaring cats (lions, tigers)', 'lion'), ('Chicken, rooster', 'hen'), ('Oink', 'hog'), ('Moo', 'ox'), ('Croak', 'tree frog'),
    ('Bee, wasp, etc.', 'bee'), ('Whale vocalization', 'grey whale'), ('Owl', 'great grey owl'), ('Bird', 'macaw'),
    ('Hiss', 'Indian cobra'), ('Guitar', 'electric guitar'), ('Trumpet', 'cornet'), ('Saxophone', 'sax'), ('Piano', 'upright'),
    ('Church bell', 'bell cote'), ('Engine', 'sports car'), ('Truck', 'trailer truck'), ('Bus', 'school bus'), ('Motorcycle', 'moped'),
    ('Train', 'steam locomotive'), ('Fixed-wing aircraft, airplane', 'airliner'), ('Motorboat, speedboat', 'speedboat'),
    ('Ambulance (siren)', 'ambulance'), ('Siren', 'fire engine'), ('Waves, surf', 'seashore'), ('Water', 'fountain'),
    ('Gunshot, gunfire', 'revolver'), ('Artillery fire', 'cannon'), ('Hammer', 'hammer'), ('Chainsaw', 'chain saw'),
    ('Lawn mower', 'lawn mower'), ('Tick-tock', 'wall clock'), ('Telephone', 'dial telephone'), ('Typewriter', 'typewriter keyboard'),
    ('Hair dryer', 'hand blower'), ('Vacuum cleaner', 'vacuum'), ('Basketball bounce', 'basketball'), ('Speech', 'suit'),
    ('Singing', 'microphone'), ('Baby cry, infant cry', 'crib'), ('Clicking', 'mouse'), ('Music', 'violin'),
    ('Animal', 'African elephant'), ('Vehicle', 'tractor')])
def test_the_maker_is_seen(sound, image):
    assert classes.image_classes().index(image) in seen(sound)


def test_makers_by_the_count():
    assert seen('Bark') == seen('Dog') == seen('Bow-wow') == DOGS and DOGS < seen('Howl') < seen('Canidae, dogs, wolves') | {276, 379}
    assert seen('Meow') == set(range(281, 286)) and seen('Violin, fiddle') == {889} and seen('Accordion') == {401}
    assert seen('Bird') == {*range(7, 25), *range(80, 101), *range(127, 147)}
    assert seen('Animal') >= DOGS | seen('Bird') | seen('Snake') | seen('Insect') | seen('Horse') | seen('Wild animals')
    assert seen('Music') >= seen('Musical instrument') >= seen('Guitar') | seen('Drum') | seen('Flute') | seen('Trombone')
    for sound in ('Silence', 'Thunder', 'White noise', 'Bagpipes', 'Reverberation'):
        assert not seen(sound)
    makers = backbones.seen_when_heard()
    assert makers.shape == (521, 1000) and makers.any(1).sum() == 406 and makers.any(0).sum() == 600


def test_coarse_tags():
    animals, blasts, music, nature, people, sports, tools, vehicle = heard(
        'animals', 'blasts', 'music', 'nature', 'people', 'sports', 'tools', 'vehicle')
    assert animals >= {'Animal', 'Dog', 'Bark', 'Meow', 'Moo', 'Chirp, tweet', 'Buzz', 'Snake', 'Whale vocalization', 'Wild animals'}
    assert blasts == {'Explosion', 'Gunshot, gunfire', 'Machine gun', 'Fusillade', 'Artillery fire', 'Cap gun', 'Fireworks', 'Firecracker',
                      'Burst, pop', 'Eruption', 'Boom', 'Bang'}
    assert music >= {'Music', 'Guitar', 'Drum', 'Violin, fiddle', 'Singing', 'Choir', 'Jazz', 'Sad music', 'Orchestra'}
    assert nature >= {'Wind', 'Thunder', 'Rain', 'Stream', 'Waterfall', 'Waves, surf', 'Fire', 'Gurgling'}
    assert people >= {'Speech', 'Child speech, kid speaking', 'Laughter', 'Baby cry, infant cry', 'Cough', 'Crowd', 'Cheering', 'Singing'}
    assert sports == {'Run', 'Cheering', 'Race car, auto racing', 'Skateboard', 'Arrow', 'Basketball bounce', 'Whack, thwack', 'Bouncing'}
    assert tools >= {'Tools', 'Hammer', 'Sawing', 'Drill', 'Power tool', 'Chainsaw', 'Lawn mower', 'Chop'}
    assert vehicle >= {'Vehicle', 'Car', 'Truck', 'Train', 'Aircraft', 'Ship', 'Motorcycle', 'Engine', 'Police car (siren)', 'Bicycle'}
    assert not animals & (vehicle | music | people | tools | blasts | nature) and not vehicle & (music | tools | nature | people)
    assert people & music == {'Singing', 'Choir', 'Yodeling', 'Chant', 'Mantra', 'Child singing', 'Rapping', 'Humming', 'Whistling',
                              'Beatboxing'}
    assert blasts & nature == {'Eruption'}


def test_the_categories_of_ave():
    found = dict(zip(AVE, heard(*AVE), strict=True))
    names = set(classes.sound_classes())
    assert all(category in found[category] for category in AVE if category in names)
    assert [category for category in AVE if category not in names] == ['Male speech, man speaking', 'Female speech, woman speaking']
    assert found['Male speech, man speaking'] == {'Speech', 'Conversation', 'Narration, monologue', 'Whispering'}
    assert found['Fixed-wing aircraft, airplane'] >= {'Aircraft', 'Jet engine'} and found['Frying (food)'] == {'Frying (food)'}
    assert found['Cat'] >= {'Meow', 'Purr'} and found['Horse'] >= {'Neigh, whinny', 'Clip-clop'}
    assert found['Violin, fiddle'] >= {'Pizzicato'}
    assert max(map(len, found.values())) <= 8


@pytest.mark.parametrize('tag, sounds', [
    ('dog barking', 'Bark|Yip|Bow-wow'), ('dog howling', 'Howl'), ('dog whimpering', 'Whimper (dog)'), ('cat purring', 'Purr'),
    ('lions roaring', 'Roar'), ('sheep bleating', 'Bleat'), ('chicken crowing', 'Crowing, cock-a-doodle-doo'), ('crow cawing', 'Caw'),
    ('frog croaking', 'Croak'), ('snake hissing', 'Hiss'), ('owl hooting', 'Hoot'), ('bird chirping, tweeting', 'Chirp, tweet'),
    ('playing violin, fiddle', 'Violin, fiddle|Pizzicato'), ('playing violin', 'Violin, fiddle|Pizzicato'),
    ('playing trombone', 'Trombone'), ('playing acoustic guitar', 'Acoustic guitar'), ('playing flute', 'Flute'),
    ('singing choir', 'Choir|A capella|Gospel music'), ('playing congas', 'Percussion|Drum|Tabla'), ('playing tennis', 'Whack, thwack'),
    ('basketball bounce', 'Basketball bounce'), ('cap gun shooting', 'Cap gun'), ('machine gun shooting', 'Machine gun'),
    ('firing cannon', 'Artillery fire'), ('fireworks banging', 'Fireworks|Firecracker|Bang'), ('hammering nails', 'Hammer'),
    ('chainsawing trees', 'Chainsaw'), ('sharpen knife', 'Filing (rasp)|Scrape'), ('planing timber', 'Sanding'),
    ('lawn mowing', 'Lawn mower'), ('baby crying', 'Baby cry, infant cry'), ('baby laughter', 'Baby laughter'),
    ('people cheering', 'Cheering|Whoop'), ('people sneezing', 'Sneeze'), ('people eating noodle', 'Chewing, mastication|Biting'),
    ('people whistling', 'Whistling'), ('mouse clicking', 'Clicking'), ('typing on computer keyboard', 'Computer keyboard'),
    ('car engine starting', 'Engine starting'), ('train horning', 'Train horn'), ('police car (siren)', 'Police car (siren)'),
    ('fire truck siren', 'Fire engine, fire truck (siren)'), ('wind noise', 'Wind noise (microphone)'), ('sea waves', 'Ocean|Waves, surf'),
    ('thunder', 'Thunder|Thunderstorm'), ('waterfall burbling', 'Waterfall'), ('toilet flushing', 'Toilet flush')])
def test_labels_of_vggsound(tag, sounds):
    assert heard(tag) == [set(sounds.split('|'))]


def test_how_a_tag_is_written_does_not_matter():
    for same in (('guitar', 'Guitars', 'playing guitar', 'PlayingGuitar', 'playing_guitars', 'guitar sounds'),
                 ('puppy', 'PUPPIES', 'puppies'), ('people', 'person', 'persons', 'People'),
                 ('dogs and cats', 'dogs, cats', 'dog & cat', 'cats/dogs'),
                 ('laughing', 'laugh', 'laughs'), ('mice', 'mouse'), ('saw', 'sawing'),
                 ('babies crying', 'baby cry', 'Baby cry, infant cry')):
        first, *others = heard(*same)
        assert first and all(other == first for other in others), same


def test_a_phrase_comes_before_its_words():
    assert heard('Rock and roll', 'Whimper (dog)', 'whimper') == [{'Rock and roll'}, {'Whimper (dog)'}, {'Whimper', 'Whimper (dog)'}]
    assert 'Crowing, cock-a-doodle-doo' not in heard('crow')[0] and 'Dishes, pots, and pans' not in heard('bowling')[0]
    assert heard('snake (man outdoors)') == heard('snake') and heard('walking the dog') == [heard('dog')[0] | heard('walk')[0]]


def test_a_tag_that_no_class_fits():
    found = backbones.heard_as(['abstract art', '', 'playing', '!?', 'dog'])
    assert found.shape == (5, 521) and found.dtype == bool and not found[:4].any() and found[4].any()
    assert backbones.heard_as([]).shape == (0, 521)


def test_most_labels_of_vggsound_find_a_class():
    lines = (importlib.resources.files('stanet_jax.data') / 'vggsound.csv').read_text('utf-8').splitlines()
    labels = [row['class'] for row in csv.DictReader(line for line in lines if not line.startswith('#'))]
    missed = [label for label, row in zip(labels, backbones.heard_as(labels), strict=True) if not row.any()]
    assert missed == ['arc welding', 'blowtorch igniting', 'francolin calling', 'playing darts', 'rope skipping', 'skiing',
                      'strike lighter']
