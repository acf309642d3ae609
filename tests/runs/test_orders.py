"""Orders and requests survive their way to the worker; what is not whole is refused."""

from __future__ import annotations

import json

import pytest

from trainer.runs import orders

TRAIN = orders.Train("a/é run", {"lora": {"rank": 4, "alpha": None}, "photos": ["a\n.png"]}, True)
ORDERS = [
    TRAIN,
    orders.MakeClassImages("r", {"class_prompt": "a dog", "steps": 2.5}),
    orders.Compare("r", {}, "dog.safetensors", 3, "out"),
    orders.RateWords("r", {"base": "embedded"}, "dog", ["sks", "é"], 10),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.name)
def test_an_order_arrives_as_it_was_sent(order: orders.Order):
    line = orders.to_line(order)
    assert "\n" not in line
    assert json.loads(line)["command"] == order.name
    assert orders.order_from_line(line) == order


@pytest.mark.parametrize("request_", [orders.Stop(), orders.Save(), orders.Sample()])
def test_a_request_arrives_as_it_was_sent(request_: orders.Request):
    assert orders.request_from_line(orders.to_line(request_)) == request_


@pytest.mark.parametrize(
    "change",
    [
        {"run": 5}, {"run": None}, {"config": []}, {"config": "{}"}, {"resume": 1},
        {"resume": "yes"}, {"command": "fly"}, {"command": "stop"}, {"command": ["train"]},
    ],
    ids=str,
)  # fmt: skip
def test_an_order_of_another_kind_or_type_is_refused(change: dict[str, object]):
    document = json.loads(orders.to_line(TRAIN)) | change
    with pytest.raises(ValueError, match="not a"):
        orders.order_from_line(json.dumps(document))


@pytest.mark.parametrize("name", ["run", "config", "resume", "command"])
def test_an_order_that_lacks_something_is_refused(name: str):
    document = json.loads(orders.to_line(TRAIN))
    del document[name]
    with pytest.raises(ValueError, match="not a"):
        orders.order_from_line(json.dumps(document))


@pytest.mark.parametrize("words", ["sks", [5], None, {"sks": 1}, [["sks"]]], ids=str)
def test_a_list_of_texts_is_nothing_else(words: object):
    document = json.loads(orders.to_line(ORDERS[-1])) | {"words": words}
    with pytest.raises(ValueError, match="not a complete"):
        orders.order_from_line(json.dumps(document))
