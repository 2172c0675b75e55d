"""A service of names: a DNS server by UDP and by TCP, which share one list of hosts.

    DNSExample
    └─ dnsService     a MultiService, too: whoever knows, and the doors
       ├─ hosts       reads /etc/hosts, and reads it again when it has changed
       ├─ udp
       └─ tcp

Run it:        trioservice run examples/21_dns.tac
Ask it:        dig -p 5353 @127.0.0.1 localhost
               dig -p 5353 @127.0.0.1 -x 127.0.0.1 +tcp
Stop it:       Ctrl-C
"""

from trioservice import Application
from trioservice.plugins.dns import DNSServer, HostsResolver

port = 5353  # 53 is the real one, and needs privileges

# A MultiService, with a UDPServer and a TCPServer as its children.
hosts_resolver = HostsResolver("/etc/hosts")
dns_service = DNSServer(port, [hosts_resolver], host="127.0.0.1", name="dnsService")

# An application as usual, and the MultiService connected to it, just like any service.
application = Application("DNSExample")
dns_service.set_service_parent(application)
