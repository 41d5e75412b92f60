"""The HTTP side: where a request may go, how long it may take, and what may come back.

urllib3's pools keep the connections. The connections are urllib3's too (TLS, proxies), with what a queue
needs besides: an address that was checked, one deadline for the whole exchange, an answer of bounded size.
"""
