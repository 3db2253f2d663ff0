//! Messages that the owner of an object does not want to hear.

use crate::api::annotations::ANALYZE_SUPPRESS;
use crate::api::metadata::Metadata;

use super::message::{Aspect, Message};

/// Takes out the messages whose codes the object's annotation `galley.istio.io/analyze-suppress` names: a list
/// separated by commas without blanks, or `*` for all, as in Istio. That an object is left out because it is invalid
/// cannot be suppressed: its status has to tell.
pub(super) fn split(
    mut messages: Vec<Message>,
    meta: Option<&Metadata>,
) -> (Vec<Message>, Vec<Message>) {
    let Some(codes) = meta.and_then(|meta| meta.annotations.get(ANALYZE_SUPPRESS)) else {
        // They are kept: mostly one or two, where room for more was made while they were gathered.
        messages.shrink_to_fit();
        return (messages, Vec::new());
    };
    let unwanted = |message: &Message| {
        !matches!(message.aspect, Aspect::Readable | Aspect::Accepted)
            && codes
                .split(',')
                .any(|code| code == "*" || code == message.code)
    };
    let (suppressed, said) = messages.into_iter().partition(unwanted);
    (said, suppressed)
}
