//! `--drop-invalid`, by packets that belong to no connection that could exist.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use outrigger_e2e::{command, requires};

use super::pod::Pod;

/// Prints the source ports of the packets that reach the machine's own protocols, up to the last that is sent.
const RECEIVER: &str = r#"
import socket
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
print("ready", flush=True)
port = 0
while port != 40002:
    packet = raw.recv(65535)
    header = packet[(packet[0] & 15) * 4:]
    port = int.from_bytes(header[:2], "big")
    print(port, flush=True)
"#;

/// Sends the reset of a connection that never was, from port 40001, and then the beginning of one, from port 40002.
const SENDER: &str = r#"
import socket, struct, sys
source, destination = sys.argv[1:]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.bind((source, 0))
def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
for port, flags in [(40001, 0x04), (40002, 0x02)]:
    fields = [port, 9080, 1, 0, 5 << 4, flags, 1024, 0, 0]
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack(">BBH", 0, 6, 20)
    fields[7] = checksum(pseudo + struct.pack(">HHIIBBHHH", *fields))
    raw.sendto(struct.pack(">HHIIBBHHH", *fields), (destination, 0))
"#;

/// The source ports of what arrives of the two packets.
fn arrives(client: &Pod, server: &Pod) -> Vec<String> {
    let mut receiver = server
        .command(0, &["timeout", "30", "python3", "-c", RECEIVER])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let words = ["python3", "-c", SENDER, &client.address, &server.address];
    let mut sender: Command = client.command(0, &words);
    command::output(&mut sender).unwrap();
    let arrived = lines.map(Result::unwrap).collect();
    assert!(
        receiver.wait().unwrap().success(),
        "the last packet is lost"
    );
    arrived
}

#[test]
fn a_packet_of_no_connection_is_dropped_where_that_is_asked_for_and_no_other() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [client, server] = Pod::pair();
    for (flags, arrived) in [
        (&[][..], &["40001", "40002"][..]),
        (&["--drop-invalid"], &["40002"]),
        (&["--drop-invalid", "--native-nftables"], &["40002"]),
    ] {
        server.capture(flags);
        assert_eq!(arrives(&client, &server), arrived, "{flags:?}");
        server.agent(&["istio-clean-iptables"]).unwrap();
    }
}
