//! What another configuration would come to, before it is in force.

use super::Control;
use crate::{
    config::Config,
    control::{ControlError, State},
    health::Health,
    model::BackendName,
    netlink::Via,
};

impl Control {
    /// The same inputs under another configuration, as if its new backends were reached and passed
    /// their checks; `now` is in milliseconds of the clock that [`Control::note`] is told.
    pub fn preview(&self, config: Config, now: u64) -> Result<Self, ControlError> {
        let mut preview = self.clone();
        preview.reload(config)?;
        let starting: Vec<BackendName> = preview
            .views()
            .filter(|view| view.effective.state == State::Starting)
            .map(|view| view.name)
            .collect();
        for name in starting {
            preview.reached.entry(name.address).or_insert(Via::Direct);
            let is_checked = preview.generations.contains_key(&name);
            if is_checked {
                preview.health.insert(name, Health::presumed_up(now));
            }
        }
        preview.note(now);
        Ok(preview)
    }
}
