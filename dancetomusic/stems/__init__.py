"""Drums and bass out of a mix."""
