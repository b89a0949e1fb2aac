//! What the kernel says about programs and pins.

use std::{fs, path::Path};

use lb_tests::Host;
use serde_json::Value;

/// A program on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) id: u64,
    pub(crate) is_native: bool,
}

/// The XDP program of an interface.
#[track_caller]
pub(crate) fn program(host: &Host, interface: &str) -> Option<Program> {
    let text = host.run(&["ip", "-json", "link", "show", "dev", interface]).unwrap();
    let links: Value = serde_json::from_str(&text).unwrap();
    let xdp = links[0].get("xdp")?;
    Some(Program {
        id: xdp["prog"]["id"].as_u64().expect("a program has an id"),
        // XDP_ATTACHED_DRV of linux/if_link.h.
        is_native: xdp["mode"] == 1,
    })
}

/// Everything that lb has pinned in a host. Others have their places too: iproute2, the kernel.
pub(crate) fn pins(host: &Host) -> Vec<String> {
    let folder = host.path("/sys/fs/bpf/lb");
    match files_below(&folder) {
        below if below.is_empty() && folder.exists() => vec![folder.display().to_string()],
        below => below,
    }
}

/// Names of all files and empty folders below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .flat_map(|path| match files_below(&path) {
            below if below.is_empty() => vec![path.display().to_string()],
            below => below,
        })
        .collect()
}
