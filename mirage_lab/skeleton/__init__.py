"""skeleton: the examples of mirage-skeleton as unikernels to take and change; each is a few lines.

    hello            prints, four times a second               network          says hello to whoever connects
    heads_and_tails  two threads and a clock                   ping             measures the way to another machine
    web              nine lines that answer a browser          static_website   files out of a KV_RO
"""

from mirage_lab.skeleton.hello import hello
from mirage_lab.skeleton.network import network
from mirage_lab.skeleton.ping import ping
from mirage_lab.skeleton.static_website import static_website
from mirage_lab.skeleton.threads import heads_and_tails
from mirage_lab.skeleton.web import web

__all__ = ["heads_and_tails", "hello", "network", "ping", "static_website", "web"]
