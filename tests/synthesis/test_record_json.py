"""Results of stages are the same when they are read again."""

import json

from pvchat_jax.synthesis.faces.reader import Looks, Outline
from pvchat_jax.synthesis.record_json import from_json, to_json


def test_what_a_reader_says_comes_back_as_it_was() -> None:
    looks = Looks(
        figure="slim/steady",
        head="round",
        hair="round/bob/black",
        shoulders=1.4,
        hides_body=False,
        hat="",
        truth={"action": "wave"},
        skin="pale",
        outline=Outline(0.2, 0.16, 2.0),
        features={"eyes": "blue"},
    )
    again = from_json(Looks, json.loads(json.dumps(to_json(looks))))
    assert again == looks and {again.outline} == {looks.outline}
