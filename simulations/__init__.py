"""EU, US and SE Asia on one machine: synthetic people, an in-process federation."""
