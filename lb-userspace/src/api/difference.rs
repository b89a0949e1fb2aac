//! What `lbctl diff` prints.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{model::ServiceName, selection::Movement};

/// What another configuration would change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// Version of this document.
    pub version: u32,
    /// Every service that is in force or would be, in the order of their names.
    pub services: Vec<ServiceDifference>,
}

/// What would change of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDifference {
    /// Its name.
    pub name: ServiceName,
    /// What becomes of it.
    pub change: Change,
    /// Fields of the configuration that differ.
    pub fields: Vec<String>,
    /// Backends that it would get.
    pub backends_added: Vec<IpAddr>,
    /// Backends that it would lose.
    pub backends_removed: Vec<IpAddr>,
    /// What would move; null unless it is there before and after.
    pub movement: Option<MovementItem>,
}

/// What becomes of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It would be new.
    Added,
    /// It would be gone.
    Removed,
    /// It would change.
    Changed,
    /// It would stay as it is.
    Same,
}

impl Change {
    /// The word in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Same => "same",
        }
    }
}

/// How many slots a change moves: parts of a service's new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovementItem {
    /// Slots in all.
    pub slots: u32,
    /// Slots whose backend is another one.
    pub moved: u32,
    /// The fewest that have to move for the weights' sake.
    pub least: u32,
}

impl From<Movement> for MovementItem {
    fn from(Movement { slots, moved, least }: Movement) -> Self {
        Self { slots, moved, least }
    }
}
