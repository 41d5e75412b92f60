"""The HTTP side: where a request may go, how long it may take, and what may come back.

urllib3's connections carry the requests (TLS, proxies, framing). What stands around them here is
smaller than urllib3's pool managers: a queue sends to few hosts, very often.
"""
