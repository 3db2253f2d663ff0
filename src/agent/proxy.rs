//! `proxy`: writes Envoy's configuration, runs Envoy, drains it and ends with it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::ArgMatches;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::application::Application;
use super::bootstrap::{Stack, bootstrap};
use super::cli::text;
use super::client::Endpoint;
use super::drain;
use super::gateway::{Listeners, PORTS_FILE};
use super::metrics::{Metrics, Own};
use super::probes::{self, AppProbes};
use super::settings::{ProxySettings, Role};
use super::status::{self, Status};

/// How long Envoy may take to end when it is told to.
const END: Duration = Duration::from_secs(10);

const TEXT_LOG: &str = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t";
/// `%j` is the message escaped for JSON.
const JSON_LOG: &str = r#"{"timestamp":"%Y-%m-%dT%T.%fZ","level":"%l","scope":"envoy %n","message":"%j","thread":"%t"}"#;

/// `proxy`.
pub(super) fn run(matches: &ArgMatches, json_logs: bool) -> Result<ExitCode> {
    let role = if text(matches, "role").as_deref() == Some("router") {
        Role::Router
    } else {
        Role::Sidecar
    };
    let env = |name: &str| std::env::var(name).ok();
    // Variables that are no UTF-8 are none of ours.
    let all = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let settings = ProxySettings::read(role, &|flag| text(matches, flag), &env, all, json_logs)?;
    let ports_file =
        PathBuf::from(text(matches, "gatewayPorts").unwrap_or_else(|| PORTS_FILE.to_owned()));
    runtime()?.block_on(supervise(&settings, ports_file))
}

/// One thread is enough: the work is Envoy's.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")
}

async fn supervise(settings: &ProxySettings, ports_file: PathBuf) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let port = settings.status_port;
    let listeners = status::bind(port)
        .await
        .with_context(|| format!("the agent's port {port}"))?;
    let stack = stack();
    let config = write_bootstrap(settings, stack)?;

    let admin = Endpoint::local(settings.admin_port);
    let status = Arc::new(status_of(settings, &admin)?);
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(status.clone().serve(listener));
    }
    if settings.role == Role::Router {
        tasks.spawn(Listeners::start(ports_file, &settings.config_dir, stack)?.watch());
    }
    let mut envoy = start(settings, &config)?;

    let why = tokio::select! {
        ended = envoy.wait() => {
            let ended = ended?;
            error!(status = %ended, "Envoy ended by itself");
            return Ok(exit_code(ended));
        }
        ended = tasks.join_next() => {
            stop(&mut envoy).await?;
            return Err(match ended {
                Some(Ok(Err(error))) => error,
                Some(Err(error)) => error.into(),
                _ => anyhow!("a part of the agent ended"),
            });
        }
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = status.quit_asked() => "POST /quitquitquit",
    };
    info!(why, drain = ?settings.termination, "the proxy is to end");
    status.drain().await;
    tokio::select! {
        () = drain::finished(&admin, settings.termination) => {}
        ended = envoy.wait() => return Ok(exit_code(ended?)),
        _ = terminate.recv() => warn!("SIGTERM again: not waiting any longer"),
        _ = interrupt.recv() => warn!("SIGINT again: not waiting any longer"),
    }
    Ok(exit_code(stop(&mut envoy).await?))
}

/// What the agent's port tells, with the application's probes and metrics where injection pointed them to the agent.
fn status_of(settings: &ProxySettings, admin: &Endpoint) -> Result<Status> {
    let env = |name: &str| std::env::var(name).ok();
    let application = Application::read(&env);
    let probes = match env("ISTIO_KUBE_APP_PROBERS") {
        Some(probers) => {
            let variable = "ISTIO_KUBE_APP_PROBERS";
            for (path, reason) in probes::unreadable(&probers).context(variable)? {
                warn!(
                    path,
                    reason, "this probe can't be read and will always fail"
                );
            }
            AppProbes::read(&probers, application, settings.status_port).context(variable)?
        }
        None => AppProbes::default(),
    };
    let own = Arc::new(Own::new(Instant::now()));
    // A gateway's port is open to others, and it has no application.
    let annotations =
        env("ISTIO_PROMETHEUS_ANNOTATIONS").filter(|_| settings.role == Role::Sidecar);
    let metrics = Metrics::new(
        admin.clone(),
        application,
        annotations.as_deref(),
        settings.status_port,
        own.clone(),
    );
    Ok(Status::new(
        admin.clone(),
        settings.role,
        probes,
        metrics,
        own,
    ))
}

/// Found by trying: a kernel may have IPv6 switched off in several ways.
fn stack() -> Stack {
    match std::net::TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Stack::Dual,
        Err(_) => Stack::V4,
    }
}

fn write_bootstrap(settings: &ProxySettings, stack: Stack) -> Result<PathBuf> {
    let directory = &settings.config_dir;
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let path = directory.join("envoy-rev.json");
    let text = serde_json::to_string_pretty(&bootstrap(settings, stack))?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

fn start(settings: &ProxySettings, config: &Path) -> Result<Child> {
    let arguments = arguments(settings, config);
    info!(binary = %settings.binary.display(), ?arguments, "starting Envoy");
    // Envoy writes to the same standard output and error as the agent does: nothing is copied, nothing can lag.
    Command::new(&settings.binary)
        .args(arguments)
        // A signal to the agent's group (Ctrl-C in a terminal) is the agent's to pass on, after the drain.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", settings.binary.display()))
}

/// Envoy's command line.
fn arguments(settings: &ProxySettings, config: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-c".into(), config.into()];
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    add(&["--drain-time-s", &settings.drain.as_secs().to_string()]);
    add(&["--drain-strategy", "immediate"]);
    add(&["--local-address-ip-version", "v4"]);
    add(&["--file-flush-interval-msec", "1000"]);
    add(&["--disable-hot-restart"]);
    add(&["--allow-unknown-static-fields"]);
    add(&["--skip-deprecated-logs"]);
    add(&["-l", &settings.log_level]);
    if !settings.component_log_level.is_empty() {
        add(&["--component-log-level", &settings.component_log_level]);
    }
    // On the command line: what Envoy logs before it has read its configuration has this form too.
    let format = if settings.json_logs {
        JSON_LOG
    } else {
        TEXT_LOG
    };
    add(&["--log-format", format]);
    if settings.concurrency > 0 {
        add(&["--concurrency", &settings.concurrency.to_string()]);
    }
    arguments
}

/// Ends Envoy: politely, then not.
async fn stop(envoy: &mut Child) -> Result<ExitStatus> {
    if let Some(id) = envoy.id().and_then(|id| i32::try_from(id).ok()) {
        kill(Pid::from_raw(id), Signal::SIGTERM).context("ending Envoy")?;
    }
    if let Ok(ended) = tokio::time::timeout(END, envoy.wait()).await {
        return Ok(ended?);
    }
    warn!("Envoy does not end within {END:?}: killed");
    envoy.kill().await?;
    Ok(envoy.wait().await?)
}

/// Envoy's own status; as shells do it, 128 and the signal's number where it died of one.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
