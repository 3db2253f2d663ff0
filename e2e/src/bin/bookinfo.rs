//! bookinfo: the sample application in one program, and a client for it.
//!
//! `bookinfo productpage|details|reviews|ratings` serves, `bookinfo get URL` calls, `bookinfo wait` keeps a client's pod.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use clap::{Args, Parser, Subcommand};
use outrigger_e2e::bookinfo::{
    Client, PORT, Peers, RATINGS_HEADER, REVIEWS_VERSION_HEADER, Service, Version, serve,
    terminated,
};
use serde_json::json;
use tokio::net::TcpListener;

#[derive(Parser)]
#[command(about = "The bookinfo sample application in one program, and a client for it")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves one of the four services.
    Serve(Serve),
    /// Sends GET requests one after the other and prints a line of JSON for each.
    Get(Get),
    /// Does nothing until it is told to stop.
    Wait,
}

#[derive(Args)]
struct Serve {
    /// Which of them.
    service: Service,
    /// Which version of `reviews`.
    #[arg(long, env = "SERVICE_VERSION", default_value = "v1")]
    service_version: Version,
    /// Where to listen.
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], PORT)))]
    listen: SocketAddr,
    /// Host of `details`, with a port if it is not 9080.
    #[arg(long, env = "DETAILS_HOSTNAME", default_value = "details")]
    details: String,
    /// Host of `reviews`.
    #[arg(long, env = "REVIEWS_HOSTNAME", default_value = "reviews")]
    reviews: String,
    /// Host of `ratings`.
    #[arg(long, env = "RATINGS_HOSTNAME", default_value = "ratings")]
    ratings: String,
}

#[derive(Args)]
struct Get {
    /// What to get.
    url: Uri,
    /// How many times.
    #[arg(long, short = 'n', default_value_t = 1)]
    count: u32,
    /// A request header, as `name: value`.
    #[arg(long = "header", short = 'H', value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(args) => {
            let listener = TcpListener::bind(args.listen)
                .await
                .with_context(|| format!("listening on {}", args.listen))?;
            let peers = Peers {
                details: args.details,
                reviews: args.reviews,
                ratings: args.ratings,
            };
            let shutdown = async {
                if let Err(error) = terminated().await {
                    eprintln!("{error:#}");
                }
            };
            Ok(serve(
                listener,
                args.service,
                args.service_version,
                peers,
                shutdown,
            )
            .await?)
        }
        Command::Get(args) => repeat(args).await,
        Command::Wait => terminated().await,
    }
}

/// A line per request: what came back, or why nothing did.
async fn repeat(args: Get) -> anyhow::Result<()> {
    let client = Client::new(Duration::from_secs(10));
    let mut headers = HeaderMap::new();
    for (name, value) in args.headers {
        headers.append(name, value);
    }
    for _ in 0..args.count {
        let line = match client.get(&args.url, headers.clone()).await {
            Ok(answer) => {
                let header = |name| {
                    answer
                        .headers
                        .get(name)
                        .and_then(|value: &HeaderValue| value.to_str().ok())
                };
                json!({
                    "status": answer.status.as_u16(),
                    "server": header(header::SERVER.as_str()),
                    "reviews": header(REVIEWS_VERSION_HEADER),
                    "ratings": header(RATINGS_HEADER),
                })
            }
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        println!("{line}");
    }
    Ok(())
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("{text:?} is not `name: value`"))?;
    let name = name
        .trim()
        .parse()
        .map_err(|_| format!("{name:?} is no header name"))?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| format!("{value:?} is no header value"))?;
    Ok((name, value))
}
