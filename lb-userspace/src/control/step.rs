//! One step: from what was taken in, and the time that it is, to what follows.

use super::{Control, Moment};
use crate::{datapath::desired::DesiredService, event::Event};

/// What follows.
#[derive(Clone, Debug)]
pub struct Step {
    /// What the kernel's tables are to say.
    pub desired: Vec<DesiredService>,
    /// What happened.
    pub events: Vec<Event>,
    /// When something follows from time alone, by the clock that only goes forward.
    pub next: Option<u64>,
}

impl Control {
    /// Puts in force what was taken in. The same inputs at the same times give the same steps:
    /// nothing else is asked, no clock, no chance, no file.
    pub fn step(&mut self, at: Moment) -> Step {
        let arranged = self.note_and_arrange(at.clock);
        let services = self.services.values().zip(&arranged);
        let desired =
            services.map(|(service, (views, _))| self.desired_service(service, views, at.clock));
        let desired = desired.collect();
        let events = self.tell_changes(arranged, at.wall);
        Step { desired, events, next: self.next_deadline(at.clock) }
    }
}
