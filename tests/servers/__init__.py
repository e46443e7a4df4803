"""Real servers on the loopback interface, one module each; the conftest.py of a folder imports the fixtures that it uses.

``process`` starts and stops programs, ``packages`` gets them, ``sharing`` lets all folders use one, ``faults`` is everything that
a server should not do.
"""
