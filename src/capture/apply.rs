//! Runs `iptables-restore`: the only part of capture that touches the machine.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::iptables::{Found, Leftovers, clean_text, plain_hook_rules, restore_text};
use super::rules::{Family, RuleSet, Table};

/// One of the two implementations of iptables in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// What the plain names stand for on this machine.
    Default,
    /// Over the kernel's nf_tables.
    Nft,
    /// Over the kernel's older interface.
    Legacy,
}

impl Variant {
    /// In the order in which they are tried.
    const ALL: [Self; 3] = [Self::Default, Self::Nft, Self::Legacy];

    /// The name of the program itself, of its `-save` or of its `-restore`.
    fn program(self, suffix: &str) -> String {
        let variant = match self {
            Self::Default => "",
            Self::Nft => "-nft",
            Self::Legacy => "-legacy",
        };
        format!("iptables{variant}{suffix}")
    }
}

/// Why rules could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A program could not be started or talked to.
    #[error("{program}: {source}")]
    Run {
        /// Its name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program said no.
    #[error("{program} {arguments}: {status}: {output}")]
    Refused {
        /// Its name.
        program: String,
        /// What it was asked.
        arguments: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        output: String,
    },
    /// None of the variants took the rules.
    #[error(
        "no iptables on this machine takes the rules (is the container allowed NET_ADMIN? are the kernel's modules \
         ip_tables and xt_REDIRECT, or nf_tables and nft_redir, there?): {}",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    NoVariant(Vec<ApplyError>),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The program that did it.
    pub program: String,
    /// What it was given.
    pub text: String,
}

/// Applies the IPv4 rules. Running it again gives the same result; what an earlier run with other settings left is
/// replaced. Each variant of iptables is tried with the whole text before it is used, so that a machine with only one
/// working variant is served and a failure changes nothing.
///
/// # Errors
/// What each variant said.
pub fn apply(rules: &RuleSet, force: Option<Variant>) -> Result<Applied, ApplyError> {
    try_variants(force, |variant| {
        let tables: Vec<Table> = rules
            .counts(&[Family::V4])
            .into_iter()
            .map(|(table, _)| table)
            .collect();
        let leftovers = leftovers(variant, &tables, rules)?;
        restore(variant, restore_text(rules, Family::V4, &leftovers))
    })
}

/// Takes out what [`apply`] put in, with whatever settings it ran; `rules` are those of the last run, as far as they
/// are known. Returns one entry for each variant that had something.
///
/// # Errors
/// What a variant that holds rules of ours said.
pub fn clean(rules: &RuleSet, force: Option<Variant>) -> Result<Vec<Applied>, ApplyError> {
    let mut done = Vec::new();
    for variant in force.map_or(Variant::ALL.to_vec(), |variant| vec![variant]) {
        // A variant or a table that isn't there has nothing to clean.
        let mut found = Leftovers::new();
        for table in Table::ALL {
            found.extend(leftovers(variant, &[table], rules).unwrap_or_default());
        }
        if found.values().any(|found| !found.is_empty()) {
            done.push(restore(variant, clean_text(&found))?);
        }
    }
    Ok(done)
}

fn try_variants<T>(
    force: Option<Variant>,
    attempt: impl Fn(Variant) -> Result<T, ApplyError>,
) -> Result<T, ApplyError> {
    let mut errors = Vec::new();
    for variant in force.map_or(Variant::ALL.to_vec(), |variant| vec![variant]) {
        match attempt(variant) {
            Ok(done) => return Ok(done),
            Err(error) => errors.push(error),
        }
    }
    Err(ApplyError::NoVariant(errors))
}

fn leftovers(variant: Variant, tables: &[Table], rules: &RuleSet) -> Result<Leftovers, ApplyError> {
    let mut leftovers = Leftovers::new();
    for table in tables {
        let mut found = Found::read(&run(
            &variant.program("-save"),
            &["-t", table.as_str()],
            None,
        )?);
        for rule in plain_hook_rules(rules, Family::V4, *table) {
            let mut arguments = vec!["-w", "5", "-t", table.as_str(), "-C"];
            arguments.extend(rule.split_whitespace());
            match run(&variant.program(""), &arguments, None) {
                Ok(_) => found.hooks.push(rule),
                Err(ApplyError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        leftovers.insert(*table, found);
    }
    Ok(leftovers)
}

fn restore(variant: Variant, text: String) -> Result<Applied, ApplyError> {
    let program = variant.program("-restore");
    run(&program, &["-w", "5", "--noflush", "--test"], Some(&text))?;
    run(&program, &["-w", "5", "--noflush"], Some(&text))?;
    Ok(Applied { program, text })
}

/// Runs a program to its end and gives back its standard output.
fn run(program: &str, arguments: &[&str], input: Option<&str>) -> Result<String, ApplyError> {
    let failed = |source| ApplyError::Run {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // A program that refuses the first lines stops reading; what it says then tells more than a broken pipe.
        match stdin.write_all(input.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(ApplyError::Refused {
        program: program.to_owned(),
        arguments: arguments.join(" "),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
