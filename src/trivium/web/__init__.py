"""The labeling site: pages over the store. No rule about labels lives here."""
