"""The composer: a transformer that writes scores event by event on the beat grid."""
