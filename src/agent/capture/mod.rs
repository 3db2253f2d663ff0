//! `istio-iptables` and `istio-clean-iptables`: the facts of the host, and what to do with the rules.

mod host;
mod validation;

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::ArgMatches;
use tracing::{debug, error, info, warn};

use self::host::Facts;
use super::cli::text;
use crate::capture::apply::{self, Applied, Cleaned, Job};
use crate::capture::{
    Backend, Family, Interception, Leftovers, Options, Routing, RuleSet, Saved, Settings,
    SettingsError, clean_script, clean_text, plan, restore_text, routing, script,
};

/// How this process ends where capture is not proven; Istio's CNI plugin looks for it to repair such pods.
const NOT_PROVEN: u8 = 126;

/// `istio-iptables`.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let (settings, options) = read(matches)?;
    start(&settings, &options)
}

/// `istio-clean-iptables`.
pub(super) fn clean(matches: &ArgMatches) -> Result<ExitCode> {
    let (settings, options) = read(matches)?;
    let options = Options {
        cleanup: true,
        ..options
    };
    start(&settings, &options)
}

/// Everything that was given, all of it checked before anything is looked at or changed.
fn read(matches: &ArgMatches) -> Result<(Settings, Options)> {
    let arg = |flag: &str| text(matches, flag);
    let env = |name: &str| std::env::var(name).ok();
    let settings = Settings::read(&arg, &env, host::proxy_user());
    let options = Options::read(&arg, &env);
    match (settings, options) {
        (Ok((settings, notices)), Ok((options, more))) => {
            for notice in notices.iter().chain(&more) {
                warn!("{notice}");
            }
            Ok((settings, options))
        }
        (settings, options) => {
            let wrong = [settings.err(), options.err()];
            let wrong = wrong.into_iter().flatten().flat_map(|errors| errors.0);
            Err(SettingsError(wrong.collect()).into())
        }
    }
}

fn start(settings: &Settings, options: &Options) -> Result<ExitCode> {
    if let Some(path) = &options.network_namespace {
        host::enter(path)?;
    }
    if options.cleanup && !options.dry_run {
        return take_out(settings, options);
    }
    let facts = Facts::read(options, settings)?;
    let rules = plan(settings, &facts.host);
    let besides = routing(settings, &facts.host);
    if options.dry_run {
        print_rules(&rules, &besides, &facts, options)?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.skip_apply {
        info!("--skip-rule-apply: no rule changed");
    } else {
        host::check_names(settings)?;
        let job = Job {
            rules: &rules,
            routing: &besides,
            host: &facts.host,
            ipv6_only: facts.ipv6_only(),
            backend: options.backend,
            force: options.force,
            reconcile: options.reconcile,
            cni: options.cni,
        };
        for applied in apply::apply(&job)? {
            tell(&applied, &rules);
        }
        for routing in besides {
            debug!("{}", routing.command(true));
        }
    }
    if options.validate
        && let Err(failure) = validation::run(settings, options, &facts)
    {
        error!("{failure}");
        return Ok(ExitCode::from(NOT_PROVEN));
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(applied: &Applied, rules: &RuleSet) {
    let Some(text) = &applied.text else {
        info!(program = applied.program, "the rules are in place already");
        return;
    };
    for (table, count) in rules.counts(applied.families) {
        info!(
            table = table.as_str(),
            rules = count,
            program = applied.program,
            "captured"
        );
    }
    debug!("{text}");
}

fn take_out(settings: &Settings, options: &Options) -> Result<ExitCode> {
    // Rules made with native nftables are looked for as well, whatever the flags of this run.
    let backend = match options.backend {
        Backend::Nft => Backend::AnyIptables,
        backend => backend,
    };
    let mark = match settings.interception {
        Interception::Tproxy { mark, .. } => mark,
        Interception::Redirect => Interception::USUAL_MARK,
    };
    let done = apply::clean(backend, options.cni, &[mark])?;
    if done.is_empty() {
        info!("no rules of ours found");
    }
    for cleaned in done {
        info!("taken out: {cleaned}");
        if let Cleaned::Rules(Applied {
            text: Some(text), ..
        }) = cleaned
        {
            debug!("{text}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what the tools would be fed on a machine that holds nothing of ours or, for a clean-up, exactly this.
fn print_rules(
    rules: &RuleSet,
    besides: &[Routing],
    facts: &Facts,
    options: &Options,
) -> Result<()> {
    let mut text = String::new();
    if options.backend == Backend::Nft {
        let script = if options.cleanup {
            clean_script()
        } else {
            script(rules, facts.host.ipv6)
        };
        let _ = write!(text, "# nft\n{script}");
    } else {
        for family in facts.host.families() {
            let program = match family {
                Family::V4 => "iptables-restore",
                Family::V6 => "ip6tables-restore",
            };
            let mut fed = restore_text(rules, *family, &Leftovers::new());
            if options.cleanup {
                fed = clean_text(&Saved::read(&fed).leftovers());
            }
            let _ = write!(text, "# {program}\n{fed}");
        }
    }
    for routing in besides {
        let _ = writeln!(text, "# {}", routing.command(!options.cleanup));
    }
    print!("{text}");
    if let Some(path) = std::env::var_os("DRY_RUN_FILE_PATH").filter(|path| !path.is_empty()) {
        fs::write(&path, &text)
            .map_err(|error| anyhow!("writing {}: {error}", path.display()))
            .context("DRY_RUN_FILE_PATH")?;
    }
    Ok(())
}
