//! What errors of lists and watches mean.

use kube::runtime::watcher;

/// What an error means for the watch that met it.
pub(super) enum Failure {
    /// The kind is not served in this version.
    Gone,
    /// It may not be read.
    Denied,
    /// The resource version that a watch is to go on from is too old, and the API server says so instead of starting it.
    /// (Where it starts one and then says so, the list is repeated without further ado.)
    Expired,
    /// The next attempt may succeed.
    Passing,
}

impl Failure {
    pub(super) fn of(error: &watcher::Error) -> Failure {
        match error {
            watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410 => {
                Failure::Expired
            }
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchFailed(kube::Error::Api(status))
            | watcher::Error::WatchError(status) => match status.code {
                404 => Failure::Gone,
                403 => Failure::Denied,
                _ => Failure::Passing,
            },
            _ => Failure::Passing,
        }
    }
}

pub(super) fn is_denied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// An error with its causes, which kube's own message leaves out.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}
