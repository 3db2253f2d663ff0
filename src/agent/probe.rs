//! `wait` and `request`: what lifecycle hooks of pods call.

use std::io::Write as _;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use hyper::{Method, Uri};
use tokio::time::Instant;
use tracing::info;

use super::cli::text;
use super::client::Endpoint;

/// `wait`: asks until the answer is 200 or the time is up.
pub(super) fn wait(matches: &ArgMatches) -> Result<ExitCode> {
    let url = text(matches, "url").unwrap_or_default();
    let (admin, path) = split(&url)?;
    let timeout = Duration::from_secs(number(matches, "timeoutSeconds")?);
    let limit = Duration::from_millis(number(matches, "requestTimeoutMillis")?);
    let period = Duration::from_millis(number(matches, "periodMillis")?);
    super::proxy::runtime()?.block_on(async {
        // Without a deadline where the time is longer than the clock can tell.
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let problem = match admin.ask(Method::GET, &path, limit).await {
                Ok(answer) if answer.status.is_success() => {
                    info!("the proxy is ready");
                    return Ok(ExitCode::SUCCESS);
                }
                Ok(answer) => format!("{url} says {}", answer.status),
                Err(error) => error.to_string(),
            };
            let next = Instant::now().checked_add(period);
            if deadline.is_some_and(|deadline| next.is_none_or(|next| next > deadline)) {
                bail!("the proxy was not ready within {timeout:?}: {problem}");
            }
            tokio::time::sleep(period).await;
        }
    })
}

/// `request`: asks once and prints the answer.
pub(super) fn request(matches: &ArgMatches) -> Result<ExitCode> {
    let port = text(matches, "debug-port").unwrap_or_default();
    let port: u16 = port
        .parse()
        .with_context(|| format!("--debug-port {port:?}: allowed: a port from 1 to 65535"))?;
    let method = text(matches, "method").unwrap_or_default();
    let method = Method::from_str(&method.to_uppercase())
        .with_context(|| format!("{method:?} is no HTTP method"))?;
    let path = text(matches, "path").unwrap_or_default();
    let path = format!("/{}", path.trim_start_matches('/'));
    let limit = Duration::from_secs(60);
    let answer =
        super::proxy::runtime()?.block_on(Endpoint::local(port).ask(method, &path, limit))?;
    std::io::stdout().write_all(&answer.body)?;
    if !answer.status.is_success() {
        bail!("port {port}, {path}: {}", answer.status);
    }
    Ok(ExitCode::SUCCESS)
}

fn number(matches: &ArgMatches, flag: &str) -> Result<u64> {
    let value = text(matches, flag).unwrap_or_default();
    value
        .parse()
        .with_context(|| format!("--{flag} {value:?}: allowed: a whole number"))
}

fn split(url: &str) -> Result<(Endpoint, String)> {
    let uri: Uri = url.parse().with_context(|| format!("--url {url:?}"))?;
    let host = uri.host().map(str::to_owned);
    match (uri.scheme_str(), host) {
        (Some("http"), Some(host)) => {
            let path = uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned();
            Ok((Endpoint::new(host, uri.port_u16().unwrap_or(80)), path))
        }
        _ => {
            bail!("--url {url:?}: allowed: an address such as http://localhost:15021/healthz/ready")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_is_split_into_where_and_what() {
        let (admin, path) = split("http://localhost:15021/healthz/ready").unwrap();
        assert_eq!(
            (admin.host.as_str(), admin.port, path.as_str()),
            ("localhost", 15021, "/healthz/ready")
        );
        assert!(split("https://localhost/").is_err());
        assert!(split("localhost").is_err());
    }
}
