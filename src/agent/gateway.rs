//! A router's listeners, from a file with a list of ports.
//!
//! The file holds TCP ports, one a line (blanks or commas between several are fine, `#` starts a comment); in a
//! cluster it is the key `ports` of the ConfigMap `outrigger-gateway-ports`, mounted at `/etc/outrigger/gateway-ports`.
//! Each port becomes an HTTP listener that answers 404 until routes come from the control plane. The file may be
//! absent, which means no port, and may change at any time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::bootstrap::{LISTENERS_DIR, LISTENERS_FILE, Stack, http_listener};
use crate::api::ports::OF_THE_PROXY;

/// Where the chart mounts the file.
pub(super) const PORTS_FILE: &str = "/etc/outrigger/gateway-ports/ports";
/// How often the file is read. The kubelet itself takes up to a minute to update it.
const PERIOD: Duration = Duration::from_secs(1);
/// Far more than a gateway with a thousand ports; what is longer is no such list.
const LONGEST_FILE: u64 = 64 * 1024;
/// The most listeners that a list can ask for.
const MOST_PORTS: usize = 1024;

/// Reads a list of ports. Sorted, each once; what can't be used is told in the second value and costs only itself.
#[must_use]
pub fn read_ports(text: &str) -> (Vec<u16>, Vec<String>) {
    let (mut ports, mut problems) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let list = line.split('#').next().unwrap_or_default();
        let items = list
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|item| !item.is_empty());
        for item in items {
            match item.parse::<u16>() {
                Ok(port) if OF_THE_PROXY.contains(&port) => {
                    problems.push(format!(
                        "line {}: port {port} is the proxy's own",
                        index + 1
                    ));
                }
                Ok(port) if port != 0 => ports.push(port),
                _ => problems.push(format!(
                    "line {}: {item:?} is not a port from 1 to 65535",
                    index + 1
                )),
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    if ports.len() > MOST_PORTS {
        problems.push(format!(
            "{} ports; only the first {MOST_PORTS} are used",
            ports.len()
        ));
        ports.truncate(MOST_PORTS);
    }
    (ports, problems)
}

/// The listeners for these ports, as the response of Envoy's listener discovery from a file. The version is the list
/// itself: the same ports are the same version.
#[must_use]
pub fn listeners(ports: &[u16], stack: Stack) -> Value {
    let version: Vec<String> = ports.iter().map(u16::to_string).collect();
    let resources: Vec<Value> = ports.iter().map(|port| listener(*port, stack)).collect();
    json!({"version_info": version.join(","), "resources": resources})
}

fn listener(port: u16, stack: Stack) -> Value {
    let name = format!("0.0.0.0_{port}");
    let mut listener = http_listener(
        &name,
        (port, stack),
        &format!("outbound_{name}"),
        &json!([]),
    );
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    listener["traffic_direction"] = json!("OUTBOUND");
    listener["filter_chains"][0]["filters"][0]["typed_config"]["access_log"] = json!([{
        "name": "envoy.access_loggers.stdout",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"},
    }]);
    listener
}

/// Keeps Envoy's listeners equal to a file of ports.
pub(super) struct Listeners {
    ports_file: PathBuf,
    directory: PathBuf,
    stack: Stack,
    written: Option<Vec<u16>>,
    told: Vec<String>,
}

impl Listeners {
    /// Makes the directory and writes the first version, which Envoy needs to find when it starts.
    pub(super) fn start(ports_file: PathBuf, config_dir: &Path, stack: Stack) -> Result<Self> {
        let directory = config_dir.join(LISTENERS_DIR);
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let mut listeners = Self {
            ports_file,
            directory,
            stack,
            written: None,
            told: Vec::new(),
        };
        listeners.update()?;
        Ok(listeners)
    }

    /// Watches the file for ever. It is read again and again by its path: the kubelet changes a mounted ConfigMap by
    /// moving a symbolic link, of which a watch on the file itself would see nothing.
    pub(super) async fn watch(mut self) -> Result<()> {
        loop {
            tokio::time::sleep(PERIOD).await;
            self.update()?;
        }
    }

    /// A later version that can't be read or written (a full disk) is tried again: what is there goes on serving.
    fn update(&mut self) -> Result<()> {
        let text = match self.read() {
            Ok(text) => text,
            Err(error) => {
                self.tell(vec![format!("{error}; the listeners stay as they are")]);
                if self.written.is_some() {
                    return Ok(());
                }
                String::new()
            }
        };
        let (ports, mut problems) = read_ports(&text);
        let news = self.written.as_ref() != Some(&ports);
        if news && let Err(error) = self.write(ports) {
            if self.written.is_none() {
                return Err(error);
            }
            problems.push(format!("{error:#}; the listeners stay as they are"));
        }
        if news || !problems.is_empty() {
            self.tell(problems);
        }
        Ok(())
    }

    fn write(&mut self, ports: Vec<u16>) -> Result<()> {
        let file = self.directory.join(LISTENERS_FILE);
        // Not in the watched directory: Envoy would read the half-written file's neighbour for nothing.
        let new = self.directory.with_extension("new");
        std::fs::write(&new, listeners(&ports, self.stack).to_string())
            .with_context(|| format!("writing {}", new.display()))?;
        std::fs::rename(&new, &file)
            .with_context(|| format!("moving {} into place", file.display()))?;
        info!(?ports, "gateway listeners written");
        self.written = Some(ports);
        Ok(())
    }

    fn read(&self) -> Result<String, String> {
        use std::io::Read as _;
        let problem = |error: std::io::Error| format!("{}: {error}", self.ports_file.display());
        let file = match std::fs::File::open(&self.ports_file) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(problem(error)),
        };
        let mut text = String::new();
        file.take(LONGEST_FILE)
            .read_to_string(&mut text)
            .map_err(problem)?;
        Ok(text)
    }

    /// Says each set of problems once, not every second.
    fn tell(&mut self, problems: Vec<String>) {
        if problems != self.told {
            for problem in &problems {
                warn!(file = %self.ports_file.display(), "gateway ports: {problem}");
            }
            self.told = problems;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ports_are_read_and_what_is_none_costs_only_itself() {
        let (ports, problems) =
            read_ports("# for shops\n8088\n\n 8443, 8080 # two\nhttp\n0\n15021\n8088\n");
        assert_eq!(ports, [8080, 8088, 8443]);
        assert_eq!(
            problems,
            [
                "line 5: \"http\" is not a port from 1 to 65535",
                "line 6: \"0\" is not a port from 1 to 65535",
                "line 7: port 15021 is the proxy's own",
            ]
        );
        assert_eq!(read_ports(""), (vec![], vec![]));
    }

    #[test]
    fn a_version_that_cannot_be_written_leaves_the_listeners_and_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let ports = dir.path().join("ports");
        std::fs::write(&ports, "8080").unwrap();
        let mut gateway = Listeners::start(ports.clone(), dir.path(), Stack::V4).unwrap();
        let obstacle = dir.path().join(LISTENERS_DIR).with_extension("new");
        std::fs::create_dir(&obstacle).unwrap();
        std::fs::write(&ports, "8088").unwrap();
        gateway.update().unwrap();
        assert_eq!(gateway.written.as_deref(), Some(&[8080][..]));
        assert!(
            gateway.told[0].contains("listeners.new"),
            "{:?}",
            gateway.told
        );
        std::fs::remove_dir(&obstacle).unwrap();
        gateway.update().unwrap();
        assert_eq!(gateway.written.as_deref(), Some(&[8088][..]));
        assert!(gateway.told.is_empty());
    }

    #[test]
    fn each_port_is_an_http_listener_without_routes() {
        insta::assert_json_snapshot!(listeners(&[8088], Stack::V4));
    }

    proptest! {
        #[test]
        fn any_text_gives_ports_that_can_be_listened_on(text in "\\PC*|([0-9]{1,6}[\n, #])*") {
            let (ports, _) = read_ports(&text);
            prop_assert!(ports.is_sorted() && ports.len() <= MOST_PORTS);
            prop_assert!(!ports.contains(&0) && !ports.iter().any(|port| OF_THE_PROXY.contains(port)));
        }
    }
}
