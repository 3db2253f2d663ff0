//! What a pod is to its proxy: a network, file systems and processes of its own, made of bare namespaces.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outrigger_e2e::progress::Lines;
use outrigger_e2e::{command, tools, wait};

/// The agent, as bound into every pod.
const AGENT: &str = "/run/pod/outrigger-agent";
/// Envoy, as bound into every pod.
const ENVOY: &str = "/run/pod/envoy";
/// Long for a machine under load; nothing here takes more than a second otherwise.
pub const SOON: Duration = Duration::from_secs(30);
/// The user that an application runs as, and the proxy's.
pub const APPLICATION: u32 = 1000;
pub const PROXY: u32 = 1337;

/// Answers every connection with who called and what was called, then closes it.
const SERVER: &str = r#"
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
listener = socket.create_server((host, port), family=family)
while True:
    connection, peer = listener.accept()
    local = connection.getsockname()
    connection.sendall(f"from {peer[0]} to {local[0]}:{local[1]}\n".encode())
    connection.close()
"#;

/// Says nothing, and closes a connection when the other side does.
const SILENT_SERVER: &str = r#"
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.read()
socketserver.ThreadingTCPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"#;

/// Answers HTTP: 200 to `/ready`, 404 to anything else.
const HTTP_SERVER: &str = r#"
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"#;

/// Prints what a server sends until it closes.
const CLIENT: &str = r#"exec 3<>"/dev/tcp/$1/$2" && timeout 10 cat <&3"#;

/// Asks over HTTP and prints the whole answer.
const HTTP: &str = r#"
exec 3<>"/dev/tcp/$1/$2"
printf '%s %s HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n' "$3" "$4" >&3
timeout 10 cat <&3"#;

/// A pod. All of it is gone when it is dropped, or when this process ends.
pub struct Pod {
    holder: Child,
    /// Its first process, as seen from here.
    init: u32,
    /// Its IPv4 address; none that it has, of [`Pod::ipv6_pair`].
    pub address: String,
    /// Its IPv6 address, where [`Pod::dual_stack_pair`] or [`Pod::ipv6_pair`] gave it one.
    pub address_v6: String,
}

impl Pod {
    /// Two pods that reach each other.
    pub fn pair() -> [Self; 2] {
        let pods = [Self::start("10.77.0.1"), Self::start("10.77.0.2")];
        Self::link(&pods, "eth0");
        for pod in &pods {
            pod.root(&[
                "ip",
                "addr",
                "add",
                &format!("{}/24", pod.address),
                "dev",
                "eth0",
            ]);
            pod.root(&["ip", "link", "set", "eth0", "up"]);
        }
        pods
    }

    /// Two pods that reach each other over IPv4 and IPv6.
    pub fn dual_stack_pair() -> [Self; 2] {
        let pods = Self::pair();
        for pod in &pods {
            pod.ip(&format!("addr add {}/64 dev eth0 nodad\n", pod.address_v6));
        }
        pods
    }

    /// Two pods that reach each other over IPv6 alone.
    pub fn ipv6_pair() -> [Self; 2] {
        let pods = [Self::start("10.77.0.1"), Self::start("10.77.0.2")];
        Self::link(&pods, "eth0");
        for pod in &pods {
            pod.ip(&format!(
                "link set eth0 up\naddr add {}/64 dev eth0 nodad\n",
                pod.address_v6
            ));
        }
        pods
    }

    /// Links two pods by an interface of that name in each.
    pub fn link(pods: &[Self; 2], name: &str) {
        let [one, two] = [pods[0].init.to_string(), pods[1].init.to_string()];
        let peer = ["peer", "name", name, "netns", &two];
        let link = ["link", "add", name, "netns", &one, "type", "veth"];
        command::output(Command::new("ip").args(link).args(peer)).unwrap();
    }

    fn start(address: &str) -> Self {
        let envoy = tools::envoy::path(&Lines).unwrap();
        let mut holder = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["sh", "-c", include_str!("pod.sh"), "pod"])
            .arg(env!("CARGO_BIN_EXE_outrigger-agent"))
            .arg(envoy)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        let init = only_child(holder.id()).unwrap();
        Self {
            holder,
            init,
            address: address.to_owned(),
            address_v6: address.replace("10.77.0.", "fd77::"),
        }
    }

    /// A command inside, as a user and the group of the same number.
    pub fn command(&self, user: u32, words: &[&str]) -> Command {
        self.command_as((user, user), words)
    }

    /// A command inside, as that user and group.
    fn command_as(&self, (user, group): (u32, u32), words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.init.to_string(),
            "--net",
            "--mount",
            "--pid",
            "--",
        ]);
        command.args([
            "setpriv",
            "--reuid",
            &user.to_string(),
            "--regid",
            &group.to_string(),
            "--clear-groups",
            "--",
        ]);
        command.args(words);
        command
    }

    /// Runs a program inside as root; it must succeed.
    pub fn root(&self, words: &[&str]) -> String {
        command::output(&mut self.command(0, words)).unwrap()
    }

    /// Runs the agent inside as root.
    pub fn agent(&self, words: &[&str]) -> Result<String, command::CommandError> {
        command::output(&mut self.command(0, &[&[AGENT], words].concat()))
    }

    /// Runs the agent inside as root, with these variables.
    pub fn agent_with(
        &self,
        env: &[(&str, &str)],
        words: &[&str],
    ) -> Result<String, command::CommandError> {
        let mut command = self.command(0, &[&[AGENT], words].concat());
        command::output(command.envs(env.iter().copied()))
    }

    /// Runs commands of `ip` inside, one a line.
    pub fn ip(&self, commands: &str) {
        let mut batch = self.command(0, &["ip", "-batch", "-"]);
        command::output_with_input(&mut batch, commands).unwrap();
    }

    /// Puts a file of its own over one of the machine's.
    pub fn bind(&self, path: &str, text: &str) {
        let own = format!("/run/pod{}", path.replace('/', "-"));
        self.write(&own, text);
        self.root(&["mount", "--bind", &own, path]);
    }

    /// Captures its traffic as injected pods do, with further flags.
    pub fn capture(&self, more: &[&str]) {
        let usual = [
            "istio-iptables",
            "-p",
            "15001",
            "-z",
            "15006",
            "-u",
            "1337",
            "-m",
            "REDIRECT",
            "-i",
            "*",
            "-x",
            "",
            "-b",
            "*",
            "-d",
            "15090,15021,15020",
        ];
        self.agent(&[&usual, more].concat()).unwrap();
    }

    /// The rules of a table, without counters and comments.
    pub fn rules(&self, table: &str) -> String {
        let saved = self.root(&["iptables-save", "-t", table]);
        saved
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Starts a server that tells who called.
    pub fn serve(&self, port: u16) -> Running {
        self.serve_on("0.0.0.0", port)
    }

    /// The same on one address.
    pub fn serve_on(&self, host: &str, port: u16) -> Running {
        self.start_server(SERVER, host, port)
    }

    /// Starts a server that answers HTTP.
    pub fn serve_http(&self, port: u16) -> Running {
        self.start_server(HTTP_SERVER, "0.0.0.0", port)
    }

    /// Starts a server that keeps a connection open for as long as the client does.
    pub fn serve_silent(&self, port: u16) -> Running {
        self.start_server(SILENT_SERVER, "0.0.0.0", port)
    }

    /// Opens a connection from inside that lasts until what is returned is dropped.
    pub fn hold(&self, address: &str, port: u16) -> Running {
        let words = [
            "bash",
            "-c",
            r#"exec 3<>"/dev/tcp/$1/$2"; exec cat <&3"#,
            "client",
            address,
            &port.to_string(),
        ];
        Running::start(&mut self.command(APPLICATION, &words))
    }

    fn start_server(&self, program: &str, host: &str, port: u16) -> Running {
        let words = ["python3", "-c", program, host, &port.to_string()];
        let server = Running::start(&mut self.command(0, &words));
        wait::until_true(SOON, "the server listens", || self.listens(port)).unwrap();
        server
    }

    /// Connects from inside as a user; what the server said, or why not.
    pub fn connect(
        &self,
        user: u32,
        address: &str,
        port: u16,
    ) -> Result<String, command::CommandError> {
        command::output(&mut self.command(
            user,
            &["bash", "-c", CLIENT, "client", address, &port.to_string()],
        ))
    }

    /// Asks over HTTP from inside, as the application: the status and the body.
    pub fn http(&self, method: &str, address: &str, port: u16, path: &str) -> (u16, String) {
        let port = port.to_string();
        let words = ["bash", "-c", HTTP, "client", address, &port, method, path];
        let answer = command::output(&mut self.command(APPLICATION, &words)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            body.to_owned(),
        )
    }

    /// Starts the proxy as its user and waits until it is ready.
    pub fn proxy(&self, role: &str, more: &[&str], env: &[(&str, &str)]) -> Running {
        let proxy = self.start_proxy(role, ENVOY, more, env);
        self.agent(&["wait"]).unwrap();
        proxy
    }

    /// Starts the proxy with some program as Envoy.
    pub fn start_proxy(
        &self,
        role: &str,
        envoy: &str,
        more: &[&str],
        env: &[(&str, &str)],
    ) -> Running {
        self.run_proxy((PROXY, PROXY), role, envoy, more, env)
    }

    /// Starts the proxy as that user and group.
    pub fn start_proxy_as(&self, who: (u32, u32), role: &str, env: &[(&str, &str)]) -> Running {
        self.run_proxy(who, role, ENVOY, &[], env)
    }

    fn run_proxy(
        &self,
        who: (u32, u32),
        role: &str,
        envoy: &str,
        more: &[&str],
        env: &[(&str, &str)],
    ) -> Running {
        let usual = [
            "proxy",
            role,
            "--configPath",
            "/run/pod/proxy",
            "--binaryPath",
            envoy,
            "--concurrency",
            "1",
        ];
        let logged = ["sh", "-c", r#"exec "$@" 2>/run/pod/proxy/log"#, "sh", AGENT];
        let mut command = self.command_as(who, &[&logged, &usual[..], more].concat());
        Running::start(command.envs(env.iter().copied()))
    }

    /// What agent and Envoy have logged.
    pub fn proxy_log(&self) -> String {
        self.root(&["cat", "/run/pod/proxy/log"])
    }

    /// Whether something listens on that TCP port; asking makes no connection.
    pub fn listens(&self, port: u16) -> bool {
        let suffix = format!(":{port:04X}");
        ["tcp", "tcp6"].into_iter().any(|family| {
            let file = format!("/proc/{}/net/{family}", self.init);
            let sockets = std::fs::read_to_string(file).unwrap();
            sockets.lines().skip(1).any(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                fields[1].ends_with(&suffix) && fields[3] == "0A"
            })
        })
    }

    /// One of Envoy's counters.
    pub fn counter(&self, name: &str) -> u64 {
        let stats = self.agent(&["request", "GET", "stats"]).unwrap();
        let value = stats
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value
            .unwrap_or_else(|| panic!("Envoy has no counter {name}"))
            .parse()
            .unwrap()
    }

    /// Writes a file inside.
    pub fn write(&self, path: &str, text: &str) {
        let mut tee = self.command(0, &["tee", path]);
        command::output_with_input(&mut tee, text).unwrap();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A program that runs in a pod.
pub struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// Sends a signal to the program itself; what was started is `nsenter`, which waits for it.
    pub fn signal(&self, signal: &str) {
        let process = wait::until(SOON, "the program runs", || only_child(self.0.id())).unwrap();
        command::output(Command::new("kill").args(["-s", signal, &process.to_string()])).unwrap();
    }

    /// The program's own process.
    pub fn id(&self) -> u32 {
        wait::until(SOON, "the program runs", || only_child(self.0.id())).unwrap()
    }

    /// Waits for its end and returns its exit code.
    pub fn ended(&mut self) -> i32 {
        let status = wait::until(SOON, "the program ends", || match self.0.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("still running".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        status.unwrap().code().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The program first: `nsenter` would leave it behind, for the pod's end.
        if let (Ok(None), Ok(program)) = (self.0.try_wait(), only_child(self.0.id())) {
            let _ = Command::new("kill")
                .args(["-s", "KILL", &program.to_string()])
                .status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The one child of a process.
pub fn only_child(process: u32) -> Result<u32, String> {
    let file = format!("/proc/{process}/task/{process}/children");
    let children =
        std::fs::read_to_string(Path::new(&file)).map_err(|error| format!("{file}: {error}"))?;
    let first = children
        .split_whitespace()
        .next()
        .ok_or(format!("{file} is empty"))?;
    first.parse().map_err(|error| format!("{file}: {error}"))
}
