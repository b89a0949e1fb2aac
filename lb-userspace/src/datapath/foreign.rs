//! Whose program is in our place.

use std::{
    collections::BTreeMap,
    io, thread,
    time::{Duration, Instant},
};

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

/// Time after which it is asked again who is in our place. Attaching is tried each second, and the
/// answer takes a thread and a look at all programs.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Whose programs were found on interfaces.
#[derive(Debug, Default)]
pub struct Occupants(BTreeMap<String, (Instant, Option<Foreign>)>);

impl Occupants {
    /// The program on an interface that is occupied.
    pub fn on(&mut self, interface: &str) -> Option<Foreign> {
        self.at(Instant::now(), interface, Foreign::on)
    }

    /// An interface is not occupied any more: if it is again, it may be by somebody else.
    pub fn forget(&mut self, interface: &str) {
        self.0.remove(interface);
    }

    fn at(
        &mut self,
        now: Instant,
        interface: &str,
        ask: impl FnOnce(&str) -> Option<Foreign>,
    ) -> Option<Foreign> {
        let known = self.0.get(interface).filter(|(asked, _)| now < *asked + ASK_AGAIN);
        let found = known.map_or_else(|| (now, ask(interface)), Clone::clone);
        self.0.insert(interface.to_owned(), found.clone());
        found.1
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_there_is_asked_now_and_then() {
        let program = |id| Some(Foreign { id, name: String::new() });
        let start = Instant::now();
        let mut occupants = Occupants::default();
        let mut on = |seconds, id| {
            occupants.at(start + Duration::from_secs(seconds), "eth0", |_| program(id))
        };
        assert_eq!([on(0, 1), on(1, 2), on(29, 3), on(30, 4), on(31, 5)], {
            [1, 1, 1, 4, 4].map(program)
        });
        assert_eq!(occupants.at(start, "eth1", |_| None), None);
        occupants.forget("eth0");
        assert_eq!(occupants.at(start, "eth0", |_| program(6)), program(6));
    }
}
