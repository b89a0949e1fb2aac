//! Whose program is in our place.

use std::{io, thread};

use aya::programs::loaded_programs;

use crate::netlink;

/// Somebody else's XDP program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    id: u32,
    /// Empty where the kernel does not tell: that takes `CAP_SYS_ADMIN`.
    name: String,
}

impl Foreign {
    /// The program on an interface, if the kernel tells.
    #[must_use]
    pub fn on(interface: &str) -> Option<Self> {
        let id = program_on(interface).ok().flatten()?;
        let of_id = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
        let name = of_id.and_then(|program| program.name_as_str().map(str::to_owned));
        Some(Self { id, name: name.unwrap_or_default() })
    }
}

/// The program in a sentence about it.
pub(super) fn named(program: Option<&Foreign>) -> String {
    match program {
        Some(Foreign { id, name }) if name.is_empty() => format!(" (id {id})"),
        Some(Foreign { id, name }) => format!(" (id {id}, {name})"),
        None => String::new(),
    }
}

/// Asks in a thread of its own, since who attaches may be in an asynchronous task or may not.
fn program_on(interface: &str) -> io::Result<Option<u32>> {
    let ask = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let found = runtime.block_on(netlink::interface(interface))?;
        Ok(found.and_then(|found| found.xdp).map(|xdp| xdp.program_id))
    };
    thread::scope(|scope| scope.spawn(ask).join())
        .unwrap_or_else(|_| Err(io::Error::other("the question ended in a panic")))
}
