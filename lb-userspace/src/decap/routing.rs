//! Whether this machine routes packets that come in by an interface.

use std::{fs, path::Path};

use ipnet::IpNet;

/// Where the kernel shows its parameters.
const PARAMETERS: &str = "/proc/sys/net";

/// Packets that come in by an interface are not routed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine does not route {family} packets that come in by `{interface}`, so it could give \
     none on to other backends: {remedy}"
)]
pub struct NotRouted {
    family: &'static str,
    interface: String,
    remedy: String,
}

/// Makes sure that tunnels from these load balancers can be given on.
pub(super) fn require(interface: &str, sources: &[IpNet]) -> Result<(), NotRouted> {
    require_in(Path::new(PARAMETERS), interface, sources)
}

fn require_in(root: &Path, interface: &str, sources: &[IpNet]) -> Result<(), NotRouted> {
    // Attaching says so of an interface that does not exist, and a family that the kernel does not
    // have brings no tunnels.
    let is_off = |path: &str| is(root, path, interface, "0");
    // sysctl writes the dots of names as slashes.
    let name = interface.replace('.', "/");
    let refusal = |family, remedy| NotRouted { family, interface: interface.to_owned(), remedy };
    if sources.iter().any(|net| matches!(net, IpNet::V4(_))) && is_off("ipv4/conf/IF/forwarding") {
        return Err(refusal("IPv4", format!("sysctl -w net.ipv4.conf.{name}.forwarding=1")));
    }
    // Linux 6.17 has the latter; before, all interfaces route or none does.
    if sources.iter().any(|net| matches!(net, IpNet::V6(_)))
        && is_off("ipv6/conf/all/forwarding")
        && !is(root, "ipv6/conf/IF/force_forwarding", interface, "1")
    {
        let remedy = format!(
            "sysctl -w net.ipv6.conf.all.forwarding=1, or, since Linux 6.17, \
             net.ipv6.conf.{name}.force_forwarding=1"
        );
        return Err(refusal("IPv6", remedy));
    }
    Ok(())
}

/// Whether a parameter has this value.
fn is(root: &Path, path: &str, interface: &str, value: &str) -> bool {
    let path = path.replace("IF", interface);
    fs::read_to_string(root.join(path)).is_ok_and(|text| text.trim() == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's parameters: of IPv4, of IPv6, and of IPv6 by this interface where it has that.
    fn parameters(ipv4: u8, ipv6: u8, forced: Option<u8>) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, value: u8| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, format!("{value}\n")).expect("a file");
        };
        write("ipv4/conf/eth0.7/forwarding", ipv4);
        write("ipv6/conf/all/forwarding", ipv6);
        forced.into_iter().for_each(|value| write("ipv6/conf/eth0.7/force_forwarding", value));
        root
    }

    fn judge(root: &tempfile::TempDir, interface: &str, sources: &[&str]) -> Option<String> {
        let nets: Vec<IpNet> =
            sources.iter().map(|source| source.parse().expect("a prefix")).collect();
        require_in(root.path(), interface, &nets).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn each_family_that_brings_tunnels_has_to_be_routed() {
        let (v4, v6) = ("10.0.0.0/8", "fd00::/64");
        let neither = parameters(0, 0, Some(0));
        let refusal = judge(&neither, "eth0.7", &[v4]).expect("IPv4 is not routed");
        assert!(refusal.contains("IPv4 packets that come in by `eth0.7`"), "{refusal}");
        assert!(refusal.ends_with("sysctl -w net.ipv4.conf.eth0/7.forwarding=1"), "{refusal}");
        let refusal = judge(&neither, "eth0.7", &[v6]).expect("IPv6 is not routed");
        assert!(refusal.contains("net.ipv6.conf.all.forwarding=1"), "{refusal}");

        assert_eq!(judge(&parameters(1, 0, None), "eth0.7", &[v4]), None);
        assert!(judge(&parameters(1, 0, None), "eth0.7", &[v4, v6]).is_some());
        assert_eq!(judge(&parameters(0, 1, None), "eth0.7", &[v6]), None);
        assert!(judge(&parameters(0, 1, None), "eth0.7", &[v6, v4]).is_some());
        assert_eq!(judge(&parameters(0, 0, Some(1)), "eth0.7", &[v6]), None);
    }

    #[test]
    fn an_interface_that_is_missing_is_left_to_who_attaches_to_it() {
        assert_eq!(judge(&parameters(0, 1, None), "eth9", &["10.0.0.0/8"]), None);
    }
}
