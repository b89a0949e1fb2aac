//! Interfaces: attached, looked at, and attached again when somebody has taken the program off.

use super::Daemon;
use crate::{
    config::XdpMode,
    control::Input,
    datapath::{DatapathError, attach::Attached},
    netlink::{self, AttachedXdp, XdpAttachMode},
};

impl Daemon {
    /// What is not reported but looked at, once a second.
    pub(super) async fn look_around(&mut self) {
        if let Err(error) = self.datapath.follow_names() {
            tracing::warn!(%error, "an attachment keeps its interface's former name");
        }
        self.refresh_interfaces().await;
        let mode = self.control.config().daemon.xdp_mode;
        for index in 0..self.interfaces.len() {
            if self.interfaces[index].mode.is_none() {
                // The reason is kept and shown.
                let _ = self.attach(index, mode);
            }
        }
        self.settle_disputes();
        self.publish_readiness();
    }

    /// Sends the packets of an interface through the program.
    pub(super) fn attach(&mut self, index: usize, mode: XdpMode) -> Result<(), DatapathError> {
        let name = self.interfaces[index].name.clone();
        match self.datapath.attach(&name, mode) {
            Ok(Attached { mode, variant }) => {
                let mode =
                    mode.map(|mode| if mode == XdpMode::Native { "native" } else { "generic" });
                let jumbo = variant.is_jumbo();
                if let Some(mode) = mode {
                    tracing::info!(interface = name, mode, jumbo, "attached");
                }
                self.interfaces[index].mode = mode.or(self.interfaces[index].mode);
                self.interfaces[index].jumbo = jumbo;
                self.interfaces[index].problem = None;
                Ok(())
            }
            Err(error) => {
                let message = error.to_string();
                if self.interfaces[index].problem.as_ref() != Some(&message) {
                    tracing::warn!(interface = name, %error, "not attached");
                }
                self.interfaces[index].problem = Some(message);
                Err(error)
            }
        }
    }

    /// Asks the kernel how interfaces are attached: somebody else may have changed it.
    pub(super) async fn refresh_interfaces(&mut self) {
        let own = self.datapath.program_ids();
        let mut links = Vec::with_capacity(self.interfaces.len());
        for interface in &mut self.interfaces {
            match netlink::interface(&interface.name).await {
                Ok(found) => {
                    links.push(found.as_ref().is_some_and(|found| found.running));
                    interface.mode = own_mode(&own, found.and_then(|found| found.xdp));
                }
                // It says nothing about the interface, so what was known of it stays.
                Err(error) => {
                    tracing::warn!(interface = interface.name, %error, "cannot be looked at");
                }
            }
        }
        let is_unplugged = !links.is_empty() && !links.contains(&true);
        if is_unplugged != self.is_unplugged {
            self.is_unplugged = is_unplugged;
            self.take(&Input::Unplugged(is_unplugged));
        }
    }
}

/// The mode of our own program; somebody else's balances nothing.
fn own_mode(own: &[u32], attached: Option<AttachedXdp>) -> Option<&'static str> {
    let ours = attached.filter(|xdp| own.is_empty() || own.contains(&xdp.program_id));
    ours.map(|xdp| mode_name(xdp.mode))
}

const fn mode_name(mode: XdpAttachMode) -> &'static str {
    match mode {
        XdpAttachMode::Native => "native",
        XdpAttachMode::Generic => "generic",
        XdpAttachMode::Offload => "offload",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_elses_program_is_not_ours() {
        let attached = Some(AttachedXdp { program_id: 7, mode: XdpAttachMode::Generic });
        assert_eq!(own_mode(&[6, 7], attached), Some("generic"));
        assert_eq!(own_mode(&[8], attached), None);
        assert_eq!(own_mode(&[7], None), None);
        // Where the kernel does not tell our numbers, any program counts.
        assert_eq!(own_mode(&[], attached), Some("generic"));
    }
}
