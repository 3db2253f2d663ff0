//! What a person sees of the demo: a line for each step with its time, commands with their output, and on a terminal a
//! spinner while a step runs.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::progress::Progress;

const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// Time between two frames.
const TICK: Duration = Duration::from_millis(100);
/// Without a terminal, a step that lasts longer says once that it runs.
const LONG: Duration = Duration::from_secs(15);

/// The screen of one run. Everything goes through it, so that the spinner is never in the way.
#[derive(Debug)]
pub struct Screen {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    terminal: bool,
    ended: AtomicBool,
    steps: Mutex<Vec<Running>>,
}

#[derive(Debug)]
struct Running {
    what: String,
    start: Instant,
    announced: bool,
}

impl Screen {
    /// A screen on stdout.
    pub fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let shared = Arc::new(Shared {
            terminal,
            ended: AtomicBool::new(false),
            steps: Mutex::default(),
        });
        let ticking = Arc::clone(&shared);
        let ticker = thread::spawn(move || {
            for frame in FRAMES.iter().cycle() {
                if ticking.ended.load(Ordering::Relaxed) {
                    return;
                }
                ticking.tick(*frame);
                thread::sleep(TICK);
            }
        });
        Self {
            shared,
            ticker: Some(ticker),
        }
    }

    /// A part of the demo begins.
    pub fn heading(&self, text: &str) {
        self.shared.print(&format!("\n{text}"));
    }

    /// Lines of text, indented.
    pub fn text(&self, text: &str) {
        let indented: Vec<_> = text
            .trim_end()
            .lines()
            .map(|line| format!("    {line}"))
            .collect();
        self.shared.print(&indented.join("\n"));
    }

    /// A command as a person would type it, and what it printed.
    pub fn command(&self, line: &str, output: &str) {
        self.text(&format!("$ {line}\n{}", output.trim_end()));
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            // It only draws: whatever became of it, the screen is cleared next.
            let _ = ticker.join();
        }
        self.shared.clear();
    }
}

impl Progress for Screen {
    fn begin(&self, what: &str) {
        let step = Running {
            what: what.to_owned(),
            start: Instant::now(),
            announced: false,
        };
        self.shared.steps().push(step);
    }

    fn done(&self, what: &str, took: Duration) {
        let mut steps = self.shared.steps();
        if let Some(place) = steps.iter().rposition(|step| step.what == what) {
            steps.truncate(place);
        }
        let depth = steps.len();
        drop(steps);
        let seconds = took.as_secs_f64();
        self.shared
            .print(&format!("{seconds:7.1} s  {}{what}", "  ".repeat(depth)));
    }
}

impl Shared {
    fn steps(&self) -> MutexGuard<'_, Vec<Running>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the innermost step that runs.
    fn tick(&self, frame: char) {
        let mut steps = self.steps();
        let Some(step) = steps.last_mut() else { return };
        let running = step.start.elapsed();
        if self.terminal {
            let seconds = running.as_secs();
            write(&format!("\r\x1b[K{frame} {seconds:5} s  {}", step.what));
        } else if running > LONG && !step.announced {
            step.announced = true;
            write(&format!("      …    {}\n", step.what));
        }
    }

    fn clear(&self) {
        if self.terminal {
            write("\r\x1b[K");
        }
    }

    fn print(&self, text: &str) {
        // Held so that no frame is drawn in between.
        let _steps = self.steps();
        self.clear();
        write(&format!("{text}\n"));
    }
}

/// Nobody is left to tell when stdout is gone.
fn write(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_failed_inside_of_another_do_not_stay_on_the_screen() {
        let screen = Screen::new();
        screen.begin("outer");
        screen.begin("inner, which fails and is never done");
        screen.done("outer", Duration::ZERO);
        assert!(screen.shared.steps().is_empty());
    }
}
