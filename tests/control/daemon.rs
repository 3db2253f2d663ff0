//! The real `outriggerd` as a local process.

use std::fs::File;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use outrigger_e2e::wait;
use serde_json::Value;
use tempfile::TempDir;

/// How long starting and stopping may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running control plane; ended on drop as kubelet would end it.
pub struct Daemon {
    process: Child,
    folder: TempDir,
    admin: SocketAddr,
}

impl Daemon {
    /// Starts one under this name that reaches the API server by `kubeconfig`, and waits until it listens.
    pub fn start(name: &str, kubeconfig: &Path, flags: &[&str]) -> Daemon {
        let program = Path::new(env!("CARGO_BIN_EXE_outriggerd"));
        Daemon::start_program(program, name, kubeconfig, flags)
    }

    /// Like [`Daemon::start`], of another build.
    pub fn start_program(program: &Path, name: &str, kubeconfig: &Path, flags: &[&str]) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        // It ends with the thread that started it, however that ends.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--pod-name={name}"))
            .arg(format!("--config-dir={}", folder.path().display()))
            .args(["--webhook-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0"])
            .args(["--debug-addr=127.0.0.1:0", "--log-format=json"])
            .args(["--log-level=info,outrigger=debug"])
            .args(flags)
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Daemon {
            process,
            folder,
            admin: ([127, 0, 0, 1], 0).into(),
        };
        let admin = wait::until(DEADLINE, "outriggerd listens", || daemon.address("admin"));
        daemon.admin = admin.unwrap();
        daemon
    }

    /// Like [`Daemon::start`], and waits until it is ready.
    pub fn start_ready(name: &str, kubeconfig: &Path, flags: &[&str]) -> Daemon {
        let daemon = Daemon::start(name, kubeconfig, flags);
        daemon.wait_until_ready();
        daemon
    }

    /// Where it listens, as it says itself.
    pub fn address(&self, field: &str) -> Result<SocketAddr> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("outriggerd starts"));
        let line = line.ok_or_else(|| anyhow!("no such line in:\n{log}"))?;
        let line: Value = serde_json::from_str(line)?;
        let address = line[field].as_str().context("no address")?;
        Ok(address.parse()?)
    }

    pub fn wait_until_ready(&self) {
        wait::until(DEADLINE, "outriggerd is ready", || self.get("/readyz"))
            .map_err(|error| anyhow!("{error:#}\n{}", self.last_lines()))
            .unwrap();
    }

    /// The body of an admin page that answers 200; else its body is the error.
    pub fn get(&self, path: &str) -> Result<String> {
        get(self.admin, path)
    }

    /// The sum of a metric's samples, over all labels; 0 if there are none.
    pub fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").unwrap();
        let samples = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        samples
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .fold(0.0, |sum, sample| sum + sample)
    }

    /// Waits until a metric is at least this.
    pub fn wait_for_metric(&self, name: &str, at_least: f64) {
        wait::until(DEADLINE, name, || {
            let value = self.metric(name);
            (value >= at_least).then_some(()).ok_or(value)
        })
        .map_err(|error| anyhow!("{error:#}\n{}", self.last_lines()))
        .unwrap();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(50)..].join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether the process that was started has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends it a signal, such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let flag = format!("-{name}");
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([&flag, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Its resident memory, in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap() * 1024
    }

    /// SIGKILL: no chance to give anything back.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGTERM, and its exit status.
    pub fn stop(mut self) -> ExitStatus {
        self.terminate()
    }

    fn terminate(&mut self) -> ExitStatus {
        if let Ok(Some(status)) = self.process.try_wait() {
            return status;
        }
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let ended = wait::until(DEADLINE, "outriggerd ends", || {
            self.process.try_wait().unwrap().ok_or("it runs")
        });
        ended.unwrap_or_else(|_| {
            let _ = self.process.kill();
            self.process.wait().unwrap()
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let status = self.terminate();
        if std::thread::panicking() {
            eprintln!(
                "outriggerd {} ({status}) wrote last:\n{}",
                self.pid(),
                self.last_lines()
            );
        }
    }
}

/// A page over plain HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{body}");
    Ok(body.to_owned())
}
