"""The web page: a video dropped on it gets its music, a camera in front of it plays live.

``server`` answers requests, ``guard`` decides who may ask, ``uploads`` keeps what was sent,
``jobs`` lets one process (``worker``) make music in turn, ``live_socket`` plays to a camera.
"""
