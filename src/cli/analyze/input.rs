//! Documents → World, with the place of each object.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use serde_json::{Value, json};

use super::finding::{Finding, Findings};
use crate::analysis::{Message, Snapshot, diagnoses};
use crate::api::kind::Kind;
use crate::cli::manifests::{Document, Unreadable};
use crate::inject::policy::IGNORED_NAMESPACES;
use crate::world::{ApplyError, Incoming, ObjectKey, World};

/// What is known after reading: the World, where each object came from, and what could not be taken into the World.
pub(super) struct Input<'d> {
    world: World,
    default_namespace: String,
    origins: BTreeMap<ObjectKey, Origin>,
    unreadable: Vec<Finding<'d>>,
}

/// Where an object stands.
struct Origin {
    /// Index of its document.
    document: usize,
    /// The path of the object in the document: empty, or `items[3]` in a list.
    path: String,
}

impl<'d> Input<'d> {
    /// Lays documents over `world`; an object without a namespace belongs to `default_namespace`.
    pub(super) fn new(world: World, default_namespace: &str) -> Input<'d> {
        Input {
            world,
            default_namespace: default_namespace.to_owned(),
            origins: BTreeMap::new(),
            unreadable: Vec::new(),
        }
    }

    /// Takes documents in their order: of two with one object, the last one counts.
    pub(super) fn take_all(&mut self, documents: &'d [Document]) {
        let read = read_all(documents, &self.default_namespace);
        for (index, (document, read)) in documents.iter().zip(read).enumerate() {
            let objects = match read {
                Ok(objects) => objects,
                Err(error) => {
                    self.unreadable(document, error);
                    continue;
                }
            };
            for Read { path, object } in objects {
                match object {
                    Ok(object) => self.take(index, path, object),
                    Err(error) => self.unreadable(
                        document,
                        Unreadable {
                            line: document.place_of(&path).line,
                            text: error.to_string(),
                        },
                    ),
                }
            }
        }
    }

    fn take(&mut self, document: usize, path: String, object: Incoming) {
        if let Some(change) = self.world.take(object) {
            let origin = Origin { document, path };
            self.origins.insert(change.key, origin);
        }
    }

    fn unreadable(&mut self, document: &'d Document, error: Unreadable) {
        // A document has no object yet that could be blamed: the file is.
        let nobody = ObjectKey::new(Kind::VirtualService, "", "");
        let message = diagnoses::UNREADABLE.message(&nobody, "", error.text);
        let place = (document.file.as_str(), document.place_of_line(error.line));
        self.unreadable.push(Finding {
            origin: format!("File {}", document.file),
            effect: "Nothing of the document is read; the others are.",
            cure: "Correct the document, or take it out.",
            ..Finding::new(&message, Some(place))
        });
    }

    /// What is wrong with the objects of one namespace, or of all.
    pub(super) fn findings(
        mut self,
        documents: &'d [Document],
        namespace: Option<&str>,
    ) -> Findings<'d> {
        let snapshot = Snapshot::new(std::mem::take(&mut self.world));
        let placed = |messages: Vec<&Message>| -> Vec<Finding<'d>> {
            messages
                .into_iter()
                .filter(|message| concerns(message, namespace))
                .map(|message| self.placed(message, documents))
                .collect()
        };
        let mut said = placed(snapshot.all_messages());
        let suppressed = placed(snapshot.suppressed_messages());
        said.splice(0..0, self.unreadable);
        Findings { said, suppressed }
    }

    fn placed(&self, message: &Message, documents: &'d [Document]) -> Finding<'d> {
        let place = self.origins.get(&message.object).map(|origin| {
            let document = &documents[origin.document];
            let place = document.place_of(&origin.path_of(&message.path));
            (document.file.as_str(), place)
        });
        Finding::new(message, place)
    }
}

impl Origin {
    fn path_of(&self, field: &str) -> String {
        // An object as a whole is told by its name, in a list too.
        let field = if field.is_empty() && !self.path.is_empty() {
            "metadata.name"
        } else {
            field
        };
        let dot = if self.path.is_empty() { "" } else { "." };
        format!("{}{dot}{field}", self.path)
    }
}

/// Whether a message is about an object of a namespace, or about the namespace itself.
fn concerns(message: &Message, namespace: Option<&str>) -> bool {
    namespace.is_none_or(|wanted| {
        let of = if message.object.kind == Kind::Namespace {
            &message.object.name
        } else {
            &message.object.namespace
        };
        &**of == wanted
    })
}

/// An object of a document.
struct Read {
    /// See [`Origin::path`].
    path: String,
    object: Result<Incoming, ApplyError>,
}

/// Reads all documents, on as many threads as there are processors: it takes most of the time. One document is read by one
/// thread, however many objects its list has.
fn read_all(documents: &[Document], default_namespace: &str) -> Vec<Result<Vec<Read>, Unreadable>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = documents.len().div_ceil(threads).max(1);
    let read = |documents: &[Document]| {
        let each = documents.iter().map(|document| {
            let mut objects = Vec::new();
            let content = document.parse()?;
            if !content.is_null() {
                take_apart(String::new(), content, default_namespace, &mut objects);
            }
            Ok(objects)
        });
        each.collect::<Vec<_>>()
    };
    if documents.len() < 2 * threads {
        return read(documents);
    }
    thread::scope(|scope| {
        let start = |share| {
            let worker = thread::Builder::new().spawn_scoped(scope, move || read(share));
            // Where the system gives no thread, this one does the work.
            worker.map_err(|_| read(share))
        };
        let workers: Vec<_> = documents.chunks(share).map(start).collect();
        workers
            .into_iter()
            .flat_map(|worker| match worker {
                Ok(worker) => worker.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(read) => read,
            })
            .collect()
    })
}

/// Reads an object, or each of a list.
fn take_apart(path: String, mut object: Value, default_namespace: &str, into: &mut Vec<Read>) {
    let is_list = object["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"));
    if is_list && let Some(Value::Array(items)) = object.get_mut("items").map(Value::take) {
        let dot = if path.is_empty() { "" } else { "." };
        for (place, item) in items.into_iter().enumerate() {
            let path = format!("{path}{dot}items[{place}]");
            take_apart(path, item, default_namespace, into);
        }
        return;
    }
    if lacks_namespace(&object) {
        object["metadata"]["namespace"] = json!(default_namespace);
    }
    if object["metadata"]["namespace"]
        .as_str()
        .is_some_and(|namespace| IGNORED_NAMESPACES.contains(&namespace))
    {
        // The cluster's own objects are not for its users to mend.
        return;
    }
    if let Some(object) = Incoming::of(&object).transpose() {
        into.push(Read { path, object });
    }
}

fn lacks_namespace(object: &Value) -> bool {
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    let namespaced = Kind::of(text("apiVersion"), text("kind")).is_some_and(Kind::is_namespaced);
    let metadata = &object["metadata"];
    namespaced
        && metadata.is_object()
        && metadata["namespace"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
}
