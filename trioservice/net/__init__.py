"""Services that own sockets: events, listeners, streams, servers.

``listeners`` turns addresses into bound sockets, ``streams`` is what a handler is given, and
``servers`` accepts, limits, isolates and drains; ``events`` lists what they tell of it.
"""
