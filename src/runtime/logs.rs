//! Logs of every long-running program: one line an event on standard error, as text for people or as JSON for machines.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people: time, level, message, fields; coloured where standard error is a terminal.
    #[default]
    Text,
    /// For machines: one JSON object a line, fields at the top level.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is neither a level nor a list of `target=level`.
    #[error("--log-level {level:?}: {source}; right would be \"info\" or \"info,outrigger=debug\"")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A subscriber was installed before.
    #[error("logging is already set up: {0}")]
    Installed(#[from] TryInitError),
}

/// Sends this process's log events to standard error.
///
/// `level` is what `--log-level` takes: a level (`info`) or a list of directives (`info,outrigger::kubernetes=debug`).
/// Standard error, because the agent's standard output belongs to what it prints (`istio-iptables --dry-run`).
///
/// # Errors
/// When `level` can't be read, or when logging was set up before.
pub fn init(format: LogFormat, level: &str) -> Result<(), LogError> {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let filter = EnvFilter::builder()
        .parse(level)
        .map_err(|source| LogError::Level {
            level: level.to_owned(),
            source,
        })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry
            .with(lines.with_ansi(std::io::stderr().is_terminal()))
            .try_init()?,
        LogFormat::Json => registry
            .with(lines.json().flatten_event(true).with_current_span(false))
            .try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_level_is_named_with_what_would_be_right() {
        let error = init(LogFormat::Text, "outrigger=loud")
            .expect_err("`loud` is no level")
            .to_string();
        assert!(
            error.contains("--log-level \"outrigger=loud\"") && error.contains("\"info\""),
            "{error}"
        );
    }
}
