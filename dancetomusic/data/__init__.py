"""Dances to train on and to be measured on."""
