//! The order of things: what the demo does and says.

use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::stage::show;
use super::{Screen, Stage, bookinfo, gateway, install, local, routing, traffic};
use crate::bookinfo::terminated;
use crate::cluster::{self, Node};
use crate::images::local as images;
use crate::packages::{self, Install, Need};
use crate::progress::{Lines, step};
use crate::{requires, tools};

/// What the demo's node is known by.
const NAME: &str = "demo";
/// How many requests it sends.
const REQUESTS: u32 = 20;

/// How to run the demo.
#[derive(Args, Clone, Copy, Debug)]
pub struct Options {
    /// Leave the cluster up, and say how to reach it
    #[arg(long)]
    keep: bool,
    /// Only say which Debian packages are missing
    #[arg(long)]
    no_install: bool,
}

impl Options {
    fn install(&self) -> Install {
        if self.no_install {
            Install::Forbidden
        } else {
            Install::Allowed
        }
    }
}

/// Runs the demo.
///
/// # Errors
/// What could not be built, started or seen. Nothing is left behind unless it was to be kept.
pub fn run(options: &Options) -> Result<()> {
    let screen = Screen::new();
    let start = Instant::now();
    if let Some(kept) = cluster::kept(NAME)? {
        let kubeconfig = kept.kubeconfig.display();
        bail!("a demo's cluster is up already ({kubeconfig}); `cargo demo -- down` removes it");
    }
    clean_up_when_interrupted();
    let install = options.install();
    if let Err(reason) = node_possible(install, &screen)? {
        screen.text(&format!(
            "This machine can't run a node: {reason}. So there are no pods here: outriggerd runs as a process beside \
             etcd and kube-apiserver, and what needs pods (sidecars, requests) is left out."
        ));
        return local::run(&screen);
    }
    screen.heading("Build");
    let images = images::build(&screen)?;
    screen.heading("Start Kubernetes");
    let node = Node::start(NAME, &images.archives, install, &screen)?;
    let stage = Stage {
        node: &node,
        images: &images,
        screen: &screen,
    };
    let outcome = tour(&stage);
    if outcome.is_ok() {
        screen.heading(&format!("Done in {:.0} s.", start.elapsed().as_secs_f64()));
        screen.text(SUMMARY);
    }
    if options.keep {
        let kubectl = tools::named(&["kubectl", "helm"], &screen)?
            .bin()
            .display()
            .to_string();
        let kubeconfig = node.keep()?;
        screen.heading("The cluster stays up. To reach it:");
        screen.text(&format!(
            "export KUBECONFIG={}\nexport PATH={kubectl}:$PATH",
            kubeconfig.display()
        ));
        screen.text("cargo demo -- down    # removes every trace of it");
    } else if outcome.is_ok() {
        screen.text("cargo demo -- --keep    # the same, and leaves the cluster up for you to try");
        step(&screen, "stop the cluster", || {
            drop(node);
            anyhow::Ok(())
        })?;
    }
    outcome
}

/// Ends what `--keep` left.
///
/// # Errors
/// Something can't be removed.
pub fn down() -> Result<()> {
    match cluster::down(NAME)? {
        0 => println!("no cluster of the demo is up"),
        _ => println!("the cluster of the demo is removed"),
    }
    Ok(())
}

/// Installs packages and makes programs, so that the demo and the tests find all they need.
///
/// # Errors
/// What is missing and could not be had.
pub fn setup(options: &Options) -> Result<()> {
    // Only root runs nodes, and can install what they need; anyone may ask what is missing.
    if nix::unistd::geteuid().is_root() || options.no_install {
        packages::ensure(Need::Node, options.install(), &Lines)?;
    }
    tools::all(&Lines)?;
    tools::envoy::path(&Lines)?;
    tools::health::path(&Lines)?;
    Ok(())
}

/// Prints where a program of the cluster is, which is made if it is missing.
///
/// # Errors
/// There is no such program, or it could not be made.
pub fn which(program: &str) -> Result<()> {
    println!(
        "{}",
        tools::named(&[program], &Lines)?.path(program).display()
    );
    Ok(())
}

/// On Ctrl-C or SIGTERM, ends the process after its cluster. (When the process is killed otherwise, the cluster notices
/// and ends a moment later.)
fn clean_up_when_interrupted() {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let interrupted = runtime
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(terminated()));
        if interrupted.is_ok() {
            println!("\ninterrupted: removing the cluster");
            let gone = cluster::down(NAME);
            if let Err(error) = &gone {
                eprintln!("{error:#}");
            }
            std::process::exit(if gone.is_ok() { 130 } else { 1 });
        }
    });
}

/// Whether this machine can run a node, packages being installed where that is allowed; else the reason.
fn node_possible(install: Install, screen: &Screen) -> Result<Result<(), String>> {
    if !nix::unistd::geteuid().is_root() {
        let missing = packages::missing(Need::Node).join(" ");
        let also = match missing.as_str() {
            "" => String::new(),
            names => format!(", and Debian packages that are missing: {names}"),
        };
        return Ok(Err(format!("that needs root{also}")));
    }
    packages::ensure(Need::Node, install, screen)?;
    Ok(requires::node_possible())
}

const SUMMARY: &str = "\
You saw: a pod's sidecar injected and ready; requests that passed both sidecars, counted by Envoy and by the kernel; a
route to a subset that does not exist, told where kubectl looks, and its cure; a gateway's port that came and went.

Try next: apply your own manifests; `kubectl get virtualservices,destinationrules,gateways -A` tells what is wrong with
them. `outrigger analyze -f FILE` says the same without a cluster, `outrigger inject -f FILE` shows what is injected.";

/// All parts on a node that is up.
fn tour(stage: &Stage<'_>) -> Result<()> {
    let (node, screen) = (stage.node, stage.screen);
    screen.heading("Install Outrigger");
    install::control_plane(stage)?;
    show(node, screen, "get pods --namespace outrigger-system")?;

    screen.heading("Bookinfo with sidecars");
    bookinfo::deploy(stage)?;
    show(node, screen, "get pods")?;
    let pod = bookinfo::pod_of(stage, "productpage")?;
    let running: Vec<_> = pod
        .containers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    screen.text(&format!(
        "{} ran {} and runs {}",
        pod.name,
        pod.init_containers.join(", "),
        running.join(", ")
    ));

    screen.heading("Requests through both sidecars");
    let traffic = traffic::send(stage, REQUESTS)?;
    screen.text(&traffic.describe());
    let counted = traffic
        .counters()
        .all(|counter| counter.growth() >= u64::from(REQUESTS));
    if !counted
        || traffic
            .answers
            .iter()
            .any(|answer| answer.status != Some(200))
    {
        bail!("not every request was answered and counted");
    }

    screen.heading("A mistake in the routing, told where people look");
    let verdict = routing::break_reviews(node, screen)?;
    screen.text(&format!(
        "The condition was there {:.0} ms after the apply.",
        verdict.took.as_secs_f64() * 1000.0
    ));
    routing::cure_reviews(node, screen)?;

    screen.heading("A gateway whose ports follow the Gateway objects");
    gateway::install(stage)?;
    gateway::open_and_close(node, screen, || {
        gateway::visit(stage, gateway::NODE_PORT).map(drop)
    })
    .context("ports of the gateway")?
    .check()
}
