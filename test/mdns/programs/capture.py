# Prints the IP TTL of each packet of multicast DNS on loopback, which Node cannot read: `answer 255`. It asks as well, so
# that there are answers to one address.
import socket
import struct
import sys

# Linux has it, and older Pythons do not name it.
IP_RECVTTL = 12
GROUP, PORT, QUESTION = "224.0.0.251", int(sys.argv[1]), bytes.fromhex(sys.argv[2])


def opened(port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", port))
    lo = socket.inet_aton("127.0.0.1")
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, lo)
    if port != 0:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + lo)
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    sock.settimeout(0.2)
    return sock


def heard(sock, what):
    try:
        _, ancillary, _, _ = sock.recvmsg(9000, socket.CMSG_SPACE(4))
    except socket.timeout:
        return
    ttls = [struct.unpack("i", data[:4])[0] for level, kind, data in ancillary if kind == socket.IP_TTL]
    print(what, *ttls, flush=True)


group, asker = opened(PORT), opened(0)
print("ready", flush=True)
while True:
    asker.sendto(QUESTION, (GROUP, PORT))
    heard(asker, "answer")
    heard(group, "multicast")
