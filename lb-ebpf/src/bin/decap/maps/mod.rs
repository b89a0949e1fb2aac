//! One file a map.

mod addresses;
mod gue_port;
mod second_chance;
mod sources;
mod verdicts;

pub(crate) use addresses::DECAP_ADDRESSES;
pub(crate) use gue_port::DECAP_GUE_PORT;
pub(crate) use second_chance::DECAP_SECOND_CHANCE;
pub(crate) use sources::{DECAP_SOURCES, SourceKey};
pub(crate) use verdicts::DECAP_VERDICTS;
