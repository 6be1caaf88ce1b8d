"""The relay: one process that carries the bytes between a lab's processes and its lock servers, and can hold them back.

``python -m course_tasks.lab.relay SOCKET`` takes what the lab asks of it on the Unix socket SOCKET (control.py). Each process
has a *link* to each server, with an address of its own (link.py): so the relay knows who speaks. Every connection through
a link is two flows of bytes (flow.py), moved by one loop (loop.py).

A link does to a connection what a network would:

* **Cut**: nothing arrives, in either direction, and nobody is told. What was sent, or is sent meanwhile, is kept in order
  and delivered when the link heals; so is the news that the other side has closed, or died. Who sends more than fits is made
  to wait, as by a full TCP window.
* **Cut, and a new connection**: it is accepted, and silent. A Unix socket can't leave a client hanging in ``connect()`` as TCP
  does: when nobody accepts, Linux says EAGAIN to a client that has a timeout, and macOS refuses, neither of which is a
  partition's doing. So the client waits for its first reply instead. If it gives up before the link heals, the server
  never hears of it, as it never would of a TCP client whose SYN got no answer.
* **Slow**: what is sent arrives so much later, and no less of it: up to a megabyte is under way in each direction. A changed
  delay holds for what is sent from then on, and never makes it overtake.
* **Healed**: what was held back arrives at once. TCP would send it again after a while, the later the longer the cut was.

Where a server is not there, its links refuse connections, as it would itself; when it dies, those through them are closed. Only
a replica's link, whose port might go to somebody else, takes connections all the same, and closes them at once.
"""
