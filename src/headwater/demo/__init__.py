"""A believable shop, made from a seed number, and its live trickle. Start at `shop.py`; what is true of it: `facts.py`.

`load.py` posts its ninety days to a running collector from a process of its own, `live.py` goes on at the present time,
`definitions.py` holds what the shop declares, `questions.py` what to ask it first.
"""
