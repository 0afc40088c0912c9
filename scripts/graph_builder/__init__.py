"""Graphs as users of Theano and PyTensor built them, at any size; see scripts/user_graphs.py."""
