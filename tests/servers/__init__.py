"""Real servers on the loopback interface, one module each; their fixtures are known to every test.

``process`` starts and stops programs, ``packages`` gets them, ``faults`` is everything that a server should not do.
"""
