//! What became of the ports that were written to Services: the only input that does not come from an object.
//!
//! The API server may refuse what a plan asks for (a node port that is taken), or somebody else may undo it. The
//! writer of ports learns that, and the next plan has to know it, so that the Gateways concerned say so.

use std::collections::BTreeSet;

/// What is wrong with the ports that were last written to a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortWrite {
    /// The Service's uid: for a later one of the same name, nothing is known.
    pub uid: String,
    /// What is wrong; never empty.
    pub troubles: Vec<PortTrouble>,
}

/// One thing that is wrong with ports that were written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortTrouble {
    /// What it is.
    pub kind: PortTroubleKind,
    /// The ports that it concerns; empty stands for all of ours.
    pub ports: BTreeSet<u16>,
    /// What the API server said, or who does what.
    pub text: String,
}

/// What is wrong with a port that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortTroubleKind {
    /// The node port that was asked for belongs to another port.
    NodePortTaken,
    /// The node port that was asked for is not in the API server's range.
    NodePortOutOfRange,
    /// The API server has no node port left to give.
    NodePortsExhausted,
    /// Another field manager owns a field of the port, and wants it otherwise.
    FieldConflict,
    /// Somebody keeps removing the port.
    Overwritten,
    /// The control plane may not change the Service: its rights, a quota or an admission policy.
    Forbidden,
    /// The API server refuses the Service as it would be.
    Refused,
}
