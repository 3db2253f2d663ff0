//! The files of `--config-dir`: read at the start, and again when they change.
//!
//! A mounted ConfigMap changes by a renamed symbolic link, which file notifications handle badly: the two small files
//! are compared every few seconds. A new version that can't be read keeps the old one in force.

use std::{io, path::Path, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use serde_json::Value;
use tokio::{sync::watch, time::sleep};

use super::readiness::{Readiness, Task};
use crate::{
    inject,
    world::{Settings, SettingsError},
};

/// How often the files are compared.
const POLL: Duration = Duration::from_secs(5);
/// Largest file, in bytes: that of a ConfigMap.
const LIMIT: u64 = 1 << 20;

/// The content of the files.
#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    /// `mesh`: Istio's MeshConfig; `null` if there is no such file.
    pub mesh: Value,
    /// `values`: settings of injection under Istio's Helm keys; `null` if there is no such file.
    pub values: Value,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is too large.
    #[error("{path}: larger than {LIMIT} bytes", path = path.display())]
    Large {
        /// The file.
        path: PathBuf,
    },
    /// It is no YAML.
    #[error("{path}: {error}", path = path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: String,
    },
    /// It is YAML, but no MeshConfig.
    #[error("{path}: {error}", path = path.display())]
    Mesh {
        /// The file.
        path: PathBuf,
        /// Which field, and why.
        error: SettingsError,
    },
    /// A setting of injection has the wrong type.
    #[error("{dir}: {error}", dir = dir.display())]
    Injection {
        /// The folder.
        dir: PathBuf,
        /// Which setting, and why.
        error: inject::ConfigError,
    },
}

impl Files {
    /// Reads both files.
    ///
    /// # Errors
    /// When a file that is there can't be read as YAML.
    pub fn read(dir: &Path) -> Result<Self, ConfigError> {
        Ok(Self {
            mesh: yaml(&dir.join("mesh"))?,
            values: yaml(&dir.join("values"))?,
        })
    }
}

fn yaml(path: &Path) -> Result<Value, ConfigError> {
    let io = |error| ConfigError::Io {
        path: path.to_owned(),
        error,
    };
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Value::Null),
        Err(error) => return Err(io(error)),
    };
    if size > LIMIT {
        let path = path.to_owned();
        return Err(ConfigError::Large { path });
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(&text).map_err(|error| ConfigError::Yaml {
        path: path.to_owned(),
        error: error.to_string(),
    })
}

/// What the files say.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// As they were written.
    pub files: Files,
    /// What analysis reads of the MeshConfig.
    pub settings: Settings,
    /// Whether pods get native sidecars; `None` leaves it to the nodes.
    native: Option<bool>,
}

impl Config {
    /// Reads and checks the files of `dir`.
    ///
    /// # Errors
    /// When a file that is there can't be read, or says what can't be.
    pub fn read(dir: &Path) -> Result<Self, ConfigError> {
        Self::of(Files::read(dir)?, dir)
    }

    fn of(files: Files, dir: &Path) -> Result<Self, ConfigError> {
        let settings =
            Settings::of_mesh_config(&files.mesh).map_err(|error| ConfigError::Mesh {
                path: dir.join("mesh"),
                error,
            })?;
        let mut config = Self {
            files,
            settings,
            native: None,
        };
        let read = config.injection(false);
        let (injection, problems) = read.map_err(|error| ConfigError::Injection {
            dir: dir.to_owned(),
            error,
        })?;
        for problem in problems {
            tracing::warn!(dir = %dir.display(), problem, "a setting has no effect");
        }
        let env = |name| injection.values.pilot.env.get(name).map(|text| text.trim());
        config.settings.gateways_stay_in_their_namespace =
            env("PILOT_SCOPE_GATEWAY_TO_NAMESPACE") == Some("true");
        config.native = match env("ENABLE_NATIVE_SIDECARS") {
            None | Some("" | "auto") => None,
            Some(native) => Some(native == "true"),
        };
        Ok(config)
    }

    /// The settings of injection where all nodes run native sidecars, or not. Beside them: what was not understood.
    ///
    /// # Errors
    /// When a setting has the wrong type.
    pub fn injection(
        &self,
        nodes_run_native: bool,
    ) -> Result<(inject::Config, Vec<String>), inject::ConfigError> {
        let native = self.native.unwrap_or(nodes_run_native);
        inject::Config::from_json(&self.files.values, &self.files.mesh, native)
    }
}

/// Publishes the settings of injection until `shutdown` is ready: from the files, and from what the nodes can.
/// `waiting` ends when that is known.
pub async fn follow_injection(
    mut config: watch::Receiver<Arc<Config>>,
    mut nodes: watch::Receiver<Option<bool>>,
    injection: watch::Sender<Arc<inject::Config>>,
    waiting: Task,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    waiting.note("the versions of the nodes' kubelets");
    let mut waiting = Some(waiting);
    loop {
        let nodes_run_native = *nodes.borrow_and_update();
        let built = config
            .borrow_and_update()
            .injection(nodes_run_native.unwrap_or(false));
        match built {
            Ok((built, _)) => {
                injection.send_replace(Arc::new(built));
                if nodes_run_native.is_some() {
                    waiting = None;
                }
            }
            // `Config::of` has read the same files before.
            Err(error) => tracing::error!(%error, "cannot read the settings of injection"),
        }
        tokio::select! {
            () = &mut shutdown => break,
            Ok(()) = config.changed() => {}
            Ok(()) = nodes.changed() => {}
        }
    }
    drop(waiting);
}

/// The metrics of the files.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    reloads: Counter,
    failures: Counter,
    valid: Gauge,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("config");
        registry.register(
            "reloads",
            "New versions of the files of --config-dir that were taken over",
            metrics.reloads.clone(),
        );
        registry.register(
            "failures",
            "Attempts to read the files of --config-dir that failed",
            metrics.failures.clone(),
        );
        registry.register(
            "valid",
            "1 while the files of --config-dir are those in force, 0 while they can't be read and older ones are",
            metrics.valid.clone(),
        );
        metrics
    }
}

/// Takes over new versions of the files until `shutdown` is ready.
pub async fn follow(
    dir: PathBuf,
    config: watch::Sender<Arc<Config>>,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let mut problem: Option<String> = None;
    metrics.valid.set(1);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            () = sleep(POLL) => {}
        }
        let in_force = config.borrow().files.clone();
        let read = match Files::read(&dir) {
            Ok(files) if files == in_force => Ok(None),
            Ok(files) => Config::of(files, &dir).map(Some),
            Err(error) => Err(error),
        };
        let now = match read {
            Ok(None) => None,
            Ok(Some(new)) => {
                metrics.reloads.inc();
                tracing::info!(dir = %dir.display(), "the settings have changed and are in force");
                config.send_replace(Arc::new(new));
                None
            }
            Err(error) => {
                metrics.failures.inc();
                Some(error.to_string())
            }
        };
        if now != problem {
            metrics.valid.set(i64::from(now.is_none()));
            if let Some(error) = &now {
                tracing::error!(error, "the settings before stay in force");
            }
            readiness.remark(
                "settings",
                now.as_ref()
                    .map(|error| format!("{error}; the settings before stay in force")),
            );
            problem = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_there_are_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::read(dir.path()).unwrap();
        assert_eq!(config.settings, Settings::default());
        assert_eq!(config.files.values, Value::Null);
    }

    #[test]
    fn a_file_that_is_no_yaml_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("values"), "global: [").unwrap();
        let error = Config::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("values"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_version_is_taken_over_and_a_bad_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mesh = dir.path().join("mesh");
        std::fs::write(&mesh, "rootNamespace: one").unwrap();
        let first = Arc::new(Config::read(dir.path()).unwrap());
        let (sender, mut receiver) = watch::channel(first);
        let readiness = Readiness::default();
        let metrics = Metrics::default();
        let following = tokio::spawn(follow(
            dir.path().to_owned(),
            sender,
            readiness.clone(),
            metrics.clone(),
            std::future::pending(),
        ));
        std::fs::write(&mesh, "rootNamespace: [two").unwrap();
        while metrics.failures.get() == 0 {
            sleep(POLL).await;
        }
        assert!(
            readiness
                .report()
                .1
                .contains("the settings before stay in force")
        );
        assert!(!receiver.has_changed().unwrap());
        std::fs::write(&mesh, "rootNamespace: three").unwrap();
        receiver.changed().await.unwrap();
        assert_eq!(receiver.borrow().settings.root_namespace, "three");
        following.abort();
    }
}
