//! The webhook over HTTPS under load: `cargo bench --bench inject_https`.
//!
//! Starts itself a second time as the server (the webhook server of the control plane with the injector, without the
//! watches), and asks it over 1 and over 8 connections; then prints requests per second, the median and the 99th
//! percentile of the times, and the server's resident memory. `-- --requests 1000000` asks that often over 8
//! connections and prints the memory along the way. `-- --server-env NAME=VALUE` sets the server's environment, to
//! compare allocators (`LD_PRELOAD=libjemalloc.so.2`).

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a measurement that cannot start has nothing better to do"
)]

mod reviews;

use std::io::{BufRead as _, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outrigger::api::mesh::MeshConfig;
use outrigger::inject::{Config, values::Values};
use outrigger::webhook::inject::{Injector, PATH};
use outrigger::webhook::server::{self, Limits};
use prometheus_client::registry::Registry;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use serde_json::Value;
use tokio::sync::watch;

/// The control plane's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// For how long each load is measured.
const TIME: Duration = Duration::from_secs(5);
/// The name in the server's certificate.
const NAME: &str = "webhook.test";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--serve") {
        return serve();
    }
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    let server = Server::start(after("--server-env").as_deref());
    if let Some(requests) = after("--requests") {
        return soak(&server, requests.parse().unwrap());
    }
    println!("| pod | connections | requests/s | median | 99 % | server's memory |");
    println!("|---|---|---|---|---|---|");
    let all = reviews::all();
    for (name, body) in all.iter().filter(|(name, _)| !name.contains("KB")) {
        for connections in [1, 8] {
            let times = load(&server, body, connections, TIME);
            println!(
                "| {name} | {connections} | {:.0} | {:.3} ms | {:.3} ms | {:.1} MiB |",
                times.len() as f64 / TIME.as_secs_f64(),
                milliseconds(&times, 50),
                milliseconds(&times, 99),
                server.memory(),
            );
        }
    }
}

fn milliseconds(sorted: &[Duration], percent: usize) -> f64 {
    let at = sorted.len() * percent / 100;
    sorted
        .get(at)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// The webhook server, until its stdin is closed. The first line on stdout is its address, then comes the certificate.
fn serve() {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let tls = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let values = Values::over_defaults(&Value::Null).unwrap();
    let (config, _) = Config::new(values, MeshConfig::default(), true);
    let (_held, config) = watch::channel(Arc::new(config));
    let router = Injector::new(config, &mut Registry::default()).router();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}\n{}", listener.local_addr().unwrap(), made.cert.pem());
        let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let shutdown = async {
            let _ = closed.await;
        };
        server::serve(listener, Arc::new(tls), router, Limits::default(), shutdown).await;
    });
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

struct Server {
    process: Child,
    /// Held, because the server's last line may still be on its way.
    _lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
    client: Arc<ClientConfig>,
}

impl Server {
    fn start(variable: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.envs(variable.and_then(|variable| variable.split_once('=')));
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap().parse().unwrap();
        let mut pem = String::new();
        for line in lines.by_ref().map_while(Result::ok) {
            pem.push_str(&line);
            pem.push('\n');
            if line.contains("END CERTIFICATE") {
                break;
            }
        }
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            process,
            _lines: lines,
            address,
            client: Arc::new(client),
        }
    }

    fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let tls = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        Connection(BufReader::with_capacity(
            64 << 10,
            StreamOwned::new(tls, stream),
        ))
    }

    /// Resident memory in MiB.
    fn memory(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// A connection that is kept.
struct Connection(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Connection {
    /// Sends a request and reads the answer, which must allow with a patch; its body is in `buffer`.
    fn ask(&mut self, request: &[u8], buffer: &mut Vec<u8>) {
        self.0.get_mut().write_all(request).unwrap();
        self.0.get_mut().flush().unwrap();
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        buffer.resize(length, 0);
        self.0.read_exact(buffer).unwrap();
    }
}

fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {PATH}?timeout=10s HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Asks over so many connections for so long; the times of all requests, sorted.
fn load(server: &Server, body: &[u8], connections: usize, time: Duration) -> Vec<Duration> {
    let request = request(body);
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = server.connect();
                    let mut buffer = Vec::new();
                    let mut times = Vec::new();
                    connection.ask(&request, &mut buffer);
                    assert!(
                        String::from_utf8_lossy(&buffer).contains("JSONPatch"),
                        "no patch"
                    );
                    let end = Instant::now() + time;
                    while Instant::now() < end {
                        let asked = Instant::now();
                        connection.ask(&request, &mut buffer);
                        times.push(asked.elapsed());
                    }
                    times
                })
            })
            .collect();
        askers
            .into_iter()
            .flat_map(|asker| asker.join().unwrap())
            .collect()
    });
    times.sort_unstable();
    times
}

/// Asks so often over 8 connections, every tenth time about the pod with 1 500 variables, and prints the memory.
fn soak(server: &Server, requests: usize) {
    let small = request(&reviews::review(reviews::productpage()));
    let large = request(&reviews::review(reviews::many_variables(1500)));
    let asked = AtomicUsize::new(0);
    println!("{:>9} requests: {:.1} MiB", 0, server.memory());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = server.connect();
                let mut buffer = Vec::new();
                loop {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        return;
                    }
                    let request = if number.is_multiple_of(10) {
                        &large
                    } else {
                        &small
                    };
                    connection.ask(request, &mut buffer);
                    if (number + 1).is_multiple_of(requests.div_ceil(10)) {
                        println!("{:>9} requests: {:.1} MiB", number + 1, server.memory());
                    }
                }
            });
        }
    });
}
