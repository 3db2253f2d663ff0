//! Real sockets of any user in a pod's network, opened by one small process there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde::Deserialize;
use serde_json::json;

use super::pod::Pod;

/// What opens and answers connections in one pod. Everything it started ends with it.
pub struct Hand {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// What a listener saw of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Seen {
    /// The pod that the listener is in.
    pub at: String,
    /// The listener's port.
    pub port: u16,
    /// The connection's own address there.
    pub local: SocketAddr,
    /// Where it came from.
    pub peer: SocketAddr,
    /// Where it was going, as connection tracking knows it.
    pub original: SocketAddr,
}

/// A connection, or a datagram that wants an answer.
#[derive(Debug, Clone)]
pub struct Call {
    /// User and group.
    pub who: (u32, u32),
    pub udp: bool,
    pub to: SocketAddr,
    /// Bound to this address, and to this port or any (0).
    pub from: Option<SocketAddr>,
    /// Mark of its packets; such a socket may have any address. 0 for none.
    pub mark: u32,
    /// How long silence is waited for.
    pub seconds: f32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Serving(bool),
    Answer(Seen),
    Error(String),
}

impl Hand {
    /// Starts it as root in a pod; `name` is what its listeners call themselves.
    pub fn of(pod: &Pod, name: &str) -> Self {
        let words = ["python3", "-c", include_str!("hand.py"), name];
        let mut process = pod
            .command(0, &words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: process.stdin.take().unwrap(),
            stdout: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    /// Opens listeners as a user and group; each says what it saw to whoever connects.
    pub fn serve(&mut self, who: (u32, u32), transparent: bool, listeners: &[(bool, IpAddr, u16)]) {
        let request = json!({"who": who, "transparent": transparent, "listeners": listeners});
        match self.ask(&request) {
            Reply::Serving(true) => {}
            Reply::Serving(false) | Reply::Answer(_) => panic!("not an answer to {request}"),
            Reply::Error(error) => panic!("{request}: {error}"),
        }
    }

    /// Calls; what the listener saw, or the name of the error.
    pub fn call(&mut self, call: &Call) -> Result<Seen, String> {
        let request = json!({
            "who": call.who, "udp": call.udp, "to": [call.to.ip(), call.to.port()],
            "from": call.from.map(|from| json!([from.ip(), from.port()])),
            "mark": call.mark, "seconds": call.seconds,
        });
        match self.ask(&request) {
            Reply::Answer(seen) => Ok(seen),
            Reply::Error(error) => Err(error),
            Reply::Serving(_) => panic!("not an answer to {request}"),
        }
    }

    fn ask(&mut self, request: &serde_json::Value) -> Reply {
        writeln!(self.stdin, "{request}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} to {request}: {error}"))
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
