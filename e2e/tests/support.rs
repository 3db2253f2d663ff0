//! What the tests of both levels share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use outrigger_e2e::progress::Lines;
use outrigger_e2e::{tools, wait};
use tempfile::TempDir;

/// Environment variable that names the file in which a [`Caller`]'s helper writes its answer.
const ANSWER: &str = "OUTRIGGER_TEST_ANSWER";

/// Another process of this test binary that runs one ignored test: a caller to be killed.
pub struct Caller {
    process: Child,
    _stdin: Option<ChildStdin>,
    scratch: TempDir,
}

impl Caller {
    pub fn start(test: &str) -> Self {
        // Built here, not in the caller, whose answer has a deadline.
        tools::all(&Lines).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "--nocapture", test])
            .env(ANSWER, scratch.path().join("answer"));
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let _stdin = process.stdin.take();
        Self {
            process,
            _stdin,
            scratch,
        }
    }

    /// What the helper answered with.
    pub fn answer(&self, deadline: Duration) -> String {
        let file = self.scratch.path().join("answer");
        wait::until(deadline, "answer of the caller", || {
            fs::read_to_string(&file)
        })
        .unwrap()
    }

    /// Ends the caller as nothing in it can notice.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The helper's side of a [`Caller`]: answers with `text` and stays until it is killed.
pub fn answer_and_stay(text: &str) {
    let file = PathBuf::from(std::env::var_os(ANSWER).unwrap());
    let partial = file.with_extension("partial");
    fs::write(&partial, text).unwrap();
    fs::rename(partial, file).unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// The command lines of the processes that belong to the cluster in `directory`, by their environment.
pub fn processes_of(directory: &Path) -> Vec<String> {
    let mark = format!("WORK={}\0", directory.display()).into_bytes();
    let is_marked = |process: &Path| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.windows(mark.len()).any(|window| window == mark)
    };
    let processes = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let ours = processes.filter(|process| is_marked(process));
    ours.map(|process| {
        fs::read_to_string(process.join("cmdline"))
            .unwrap_or_default()
            .replace('\0', " ")
    })
    .collect()
}
