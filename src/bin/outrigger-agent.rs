//! `outrigger-agent`: the init and the proxy container of every injected pod.

fn main() -> std::process::ExitCode {
    outrigger::agent::cli::main()
}
