//! What analysis costs: `cargo bench --bench analysis`.
//!
//! Prints medians: of everything derived from a World in memory, of one changed VirtualService on the way that the
//! controller goes (object taken in, Snapshot made anew, status compared), and of the whole program on a file.
//! `-- --write FOLDER` leaves the files there, for other programs to be measured with; `-- 10000 memory` measures one of
//! the sizes and one of `memory`, `change` and `process`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a measurement that cannot start has nothing better to do"
)]

mod mesh;

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use outrigger::analysis::{Snapshot, conditions};
use outrigger::world::World;

/// As in the programs that are released.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 3] = [100, 1_000, 10_000];
const PROCESS_RUNS: usize = 41;
type Part = (&'static str, fn(usize));
const PARTS: [Part; 3] = [
    ("memory", from_memory),
    ("change", one_change),
    ("process", whole_process),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test` runs benches too, without this.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    if let Some(place) = arguments.iter().position(|argument| argument == "--write") {
        write(Path::new(&arguments[place + 1]));
        return;
    }
    let chosen = |named: &str, all: &[&str]| {
        arguments.iter().any(|argument| argument == named)
            || !arguments
                .iter()
                .any(|argument| all.contains(&argument.as_str()))
    };
    let sizes = SIZES.map(|size| size.to_string());
    for services in SIZES {
        if !chosen(&services.to_string(), &sizes.each_ref().map(String::as_str)) {
            continue;
        }
        println!("{services} services");
        for (name, part) in PARTS {
            if chosen(name, &PARTS.map(|(name, _)| name)) {
                part(services);
            }
        }
    }
}

fn write(folder: &Path) {
    for services in SIZES {
        std::fs::write(
            folder.join(format!("mesh-{services}.yaml")),
            mesh::manifest(services),
        )
        .unwrap();
    }
}

/// Everything that is derived from objects in memory, and every message in order.
fn from_memory(services: usize) {
    let world = mesh::world(services);
    let analyse = |world: World| {
        let snapshot = Snapshot::new(world);
        let said = snapshot.all_messages().len();
        (snapshot, said)
    };
    let times = (0..(40_000 / services).clamp(15, 101)).map(|_| {
        let world = world.clone();
        let start = Clock::start();
        let found = black_box(analyse(world));
        let took = start.stop();
        drop(found);
        took
    });
    report("all from memory", times.collect());
}

/// One VirtualService after the other changes.
fn one_change(services: usize) {
    let now = Timestamp::UNIX_EPOCH;
    let mut snapshot = Snapshot::new(mesh::world(services).at(now));
    let change = |snapshot: &Snapshot, round: usize| {
        // A prime, so that no object is as it was when its turn comes again.
        let object = mesh::virtual_service(round * 7 % services, 20 + round % 53);
        let start = Clock::start();
        let mut world = snapshot.world().clone().at(now);
        let change = world.apply(&object).unwrap();
        let (next, concerned) = snapshot.update(world, change.as_slice());
        for key in &concerned {
            let Some(meta) = next.world().metadata(key) else {
                continue;
            };
            let standing = next.standing(key);
            black_box(conditions::status_patch(
                next.world().status(key).as_ref(),
                meta.generation,
                next.messages(key),
                &standing,
                now,
            ));
        }
        (next, start.stop())
    };
    let times = (0..501).map(|round| {
        let (next, took) = change(&snapshot, round);
        snapshot = next;
        took
    });
    report("one changed VirtualService", times.collect());
}

/// The program from its start to its exit, and how much memory it takes.
fn whole_process(services: usize) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh.yaml");
    std::fs::write(&file, mesh::manifest(services)).unwrap();
    let program =
        std::env::var("OUTRIGGER").unwrap_or_else(|_| env!("CARGO_BIN_EXE_outrigger").to_owned());
    let times = (0..PROCESS_RUNS).map(|_| {
        let mut command = Command::new(&program);
        command.arg("analyze").arg("-f").arg(&file);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let start = Clock::start();
        assert!(command.status().unwrap().success());
        Took {
            processor: None,
            ..start.stop()
        }
    });
    report("outrigger analyze -f", times.collect());
    let peak = Command::new("/usr/bin/time")
        .args([
            "-f",
            "%M KiB at most",
            &program,
            "analyze",
            "-o",
            "json",
            "-f",
        ])
        .arg(&file)
        .stdout(Stdio::null())
        .output();
    match peak {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let bytes = std::fs::metadata(&file).unwrap().len();
            println!("    {}, {bytes} bytes", text.lines().last().unwrap());
        }
        Err(error) => println!("    memory unknown: /usr/bin/time: {error}"),
    }
}

/// Measures what the thread does.
struct Clock {
    start: Instant,
    processor: Option<Duration>,
}

/// How long something took, and how much of that the thread was on a processor: on a busy machine that is less.
#[derive(Clone, Copy)]
struct Took {
    time: Duration,
    processor: Option<Duration>,
}

impl Clock {
    fn start() -> Clock {
        Clock {
            processor: on_processor(),
            start: Instant::now(),
        }
    }

    fn stop(self) -> Took {
        let time = self.start.elapsed();
        let processor = self.processor.zip(on_processor());
        Took {
            time,
            processor: processor.map(|(before, after)| after.saturating_sub(before)),
        }
    }
}

/// Linux counts it in nanoseconds.
fn on_processor() -> Option<Duration> {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let first = counts.split(' ').next()?;
    first.parse().ok().map(Duration::from_nanos)
}

fn report(what: &str, all: Vec<Took>) {
    let sorted = |of: &dyn Fn(&Took) -> Option<Duration>| {
        let mut times: Vec<Duration> = all.iter().filter_map(of).collect();
        times.sort();
        times
    };
    let (times, processor) = (sorted(&|it| Some(it.time)), sorted(&|it| it.processor));
    let processor = processor
        .get(processor.len() / 2)
        .map_or_else(String::new, |median| {
            format!(", median on the processor {median:.1?}")
        });
    println!(
        "  {what}: median {:.1?}, shortest {:.1?}, 95 % {:.1?}, {} runs{processor}",
        times[times.len() / 2],
        times[0],
        times[times.len() * 95 / 100],
        times.len(),
    );
}
